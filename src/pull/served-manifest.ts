import type { Upstream } from '../upstream/upstream.ts';
import type { ManifestAnswer, ManifestRequest } from './manifest-puller.ts';

/** A manifest that has just been given to a client, for those who get ready for what comes next. */
export interface ServedManifest {
  readonly upstream: Upstream;
  readonly request: ManifestRequest;
  readonly answer: ManifestAnswer;
}
