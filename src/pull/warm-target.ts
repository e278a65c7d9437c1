import type { Descriptor } from '../oci/manifest.ts';
import type { Upstream } from '../upstream/upstream.ts';
import type { ManifestAnswer, ManifestPuller } from './manifest-puller.ts';
import type { PullClient } from './pull-client.ts';
import { PullError } from './pull-error.ts';
import type { WantedImage } from './wanted-images.ts';

/** An image that is to be brought in, and what its name stands for. */
export interface WarmTarget {
  readonly wanted: WantedImage;
  /** Undefined: it is none of the settings. */
  readonly upstream: Upstream | undefined;
  /** Undefined: it could not be told. A digest tells no media type. */
  readonly root: (Pick<Descriptor, 'digest'> & Partial<Descriptor>) | undefined;
  /** For people; empty: nothing is wrong so far. */
  readonly failures: readonly string[];
}

/** Nobody in particular: manifests come as they are. */
export const NOBODY: PullClient = {
  address: '',
  accept: undefined,
  userAgent: undefined,
  platform: undefined,
  rule: undefined,
};

/** What a name stands for: a tag is checked by HEAD if it is due or not known, which costs no pull. */
export async function findWarmTarget(
  wanted: WantedImage,
  options: { readonly upstreams: ReadonlyMap<string, Upstream>; readonly manifests: ManifestPuller },
): Promise<WarmTarget> {
  const { repository, digest } = wanted.image;
  const upstream = options.upstreams.get(repository.host);
  if (upstream === undefined) {
    const failures = [`${repository.host} is not among the upstreams of the settings`];
    return { wanted, upstream, root: undefined, failures };
  }
  if (digest !== undefined) return { wanted, upstream, root: { digest }, failures: [] };
  try {
    const { descriptor, stale } = await askForTag(wanted, upstream, options.manifests);
    const failures = stale === undefined ? [] : [`its tag could not be checked: ${stale.reason}`];
    return { wanted, upstream, root: descriptor, failures };
  } catch (error) {
    if (!(error instanceof PullError)) throw error;
    return { wanted, upstream, root: undefined, failures: [error.message] };
  }
}

/** Throws PullError. */
export function askForTag(
  { image: { repository, tag = '' } }: WantedImage,
  upstream: Upstream,
  manifests: ManifestPuller,
): Promise<ManifestAnswer> {
  return manifests.pull(upstream, {
    repository,
    reference: { kind: 'tag', tag },
    client: NOBODY,
    headOnly: true,
  });
}
