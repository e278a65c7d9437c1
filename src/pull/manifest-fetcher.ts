import { digestMatches, digestOf, type Digest } from '../oci/digest.ts';
import { ManifestInvalidError, parseManifest } from '../oci/manifest.ts';
import { referenceText, repositoryKey, type Reference, type Repository } from '../oci/reference.ts';
import type { ManifestStore, StoredManifest } from '../store/manifest-store.ts';
import type { FetchedManifest, Upstream } from '../upstream/upstream.ts';
import { linksOf } from './content-links.ts';
import type { NegativeCache } from './negative-cache.ts';
import { failureError } from './outcome-error.ts';
import { PullError } from './pull-error.ts';
import type { RepositoryAccess } from './repository-access.ts';
import { SingleFlight } from './single-flight.ts';

export interface ManifestFetcherOptions {
  readonly store: ManifestStore;
  readonly access: RepositoryAccess;
  readonly negative: NegativeCache;
}

/** Gets manifests from upstream and keeps them, once verified: one GET at a time per name, shared by all who wait. */
export class ManifestFetcher {
  readonly #store: ManifestStore;
  readonly #access: RepositoryAccess;
  readonly #negative: NegativeCache;
  readonly #flights = new SingleFlight<StoredManifest>();

  constructor(options: ManifestFetcherOptions) {
    this.#store = options.store;
    this.#access = options.access;
    this.#negative = options.negative;
  }

  /** Resolves once the manifest is stored and its links are. Throws PullError. */
  fetch(
    upstream: Upstream,
    repository: Repository,
    reference: Reference,
  ): { readonly promise: Promise<StoredManifest>; readonly joined: boolean } {
    const key = `${repositoryKey(repository)}@${referenceText(reference)}`;
    return this.#flights.run(key, () => this.#get(upstream, repository, reference));
  }

  async #get(upstream: Upstream, repository: Repository, reference: Reference): Promise<StoredManifest> {
    const name = `${repository.name}@${referenceText(reference)}`;
    const outcome = await upstream.getManifest(repository.name, reference, { identity: 'configured' });
    if (outcome.kind !== 'ok') {
      if (outcome.kind === 'not-found' && !outcome.noStore) {
        this.#negative.remember(repository, referenceText(reference));
      }
      throw failureError(outcome, name, 'manifest-unknown');
    }
    const expected = reference.kind === 'digest' ? reference.digest : outcome.value.digest;
    const { manifest, links } = verified(outcome.value, expected, name);
    await this.#store.putManifest(manifest);
    await this.#store.putLinks(repository, links);
    if (!upstream.hasCredentials) await this.#access.confirmPublic(repository);
    this.#negative.forget(repository, referenceText(reference));
    return manifest;
  }
}

function verified(fetched: FetchedManifest, expected: Digest | undefined, name: string) {
  const { bytes } = fetched;
  if (expected !== undefined && !digestMatches(expected, bytes)) {
    throw new PullError(
      'unavailable',
      `upstream sent something else than ${name}: its bytes are not ${expected}`,
    );
  }
  const digest = expected ?? digestOf(bytes);
  try {
    const { mediaType, content } = parseManifest(bytes, fetched.mediaType);
    const links = linksOf(content).set(digest, { by: 'upstream', size: bytes.length });
    return { manifest: { digest, mediaType, bytes }, links };
  } catch (cause) {
    if (!(cause instanceof ManifestInvalidError)) throw cause;
    throw new PullError('unavailable', `${name}: ${cause.message}`, { cause });
  }
}
