import { type HeadAnswer, NOBODY } from '../../mirror/answer/answers.ts';
import { PullError } from '../../mirror/answer/errors.ts';
import type { ManifestPuller } from '../../mirror/manifest/manifests.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Descriptor } from '../../oci/manifest.ts';
import { isImageManifestType } from '../../oci/media-types.ts';
import type { BlobStore } from '../../store/blobs.ts';
import type { ManifestStore } from '../../store/manifests.ts';
import type { Upstream } from '../../upstream/upstream.ts';
import { walkImage } from '../images/walk.ts';
import type { WantedImage } from '../images/wanted.ts';
import type { WarmPlan } from '../protocol.ts';

/** An image to download, and the manifest of its name. */
export interface WarmTarget {
  readonly wanted: WantedImage;
  /** Undefined: the host is not in `upstreams`. */
  readonly upstream: Upstream | undefined;
  /** Undefined: not found. The media type is missing if the name has a digest. */
  readonly root: (Pick<Descriptor, 'digest'> & Partial<Descriptor>) | undefined;
  /** For people. */
  readonly failures: readonly string[];
}

/** Finds the manifest of a name. Asks for a tag by HEAD if its check is due or it is not cached: this costs no pull. */
export async function findWarmTarget(
  wanted: WantedImage,
  options: { readonly upstreams: ReadonlyMap<string, Upstream>; readonly manifests: ManifestPuller },
): Promise<WarmTarget> {
  const { repository, digest } = wanted.image;
  const upstream = options.upstreams.get(repository.host);
  if (upstream === undefined) {
    const failures = [`${repository.host} is not an upstream; add it to \`upstreams\``];
    return { wanted, upstream, root: undefined, failures };
  }
  if (digest !== undefined) return { wanted, upstream, root: { digest }, failures: [] };
  try {
    const { head, stale } = await askForTag(wanted, upstream, options.manifests);
    const failures = stale === undefined ? [] : [`the tag check failed: ${stale.reason}`];
    return { wanted, upstream, root: head, failures };
  } catch (error) {
    if (!(error instanceof PullError)) throw error;
    return { wanted, upstream, root: undefined, failures: [error.message] };
  }
}

/** Throws PullError. */
export async function askForTag(
  { image: { repository, tag = '' } }: WantedImage,
  upstream: Upstream,
  manifests: ManifestPuller,
): Promise<HeadAnswer> {
  return manifests.pull(upstream, {
    repository,
    reference: { kind: 'tag', tag },
    client: NOBODY,
    headOnly: true,
  });
}

export interface WarmPlanOptions {
  readonly store: ManifestStore;
  readonly blobs: BlobStore;
  readonly signal: AbortSignal;
}

type Allowances = Map<string, WarmPlan['allowances'][number]>;

/** Computes the pulls and bytes of a request from the cache. Sends no requests. */
export async function planWarming(
  targets: readonly WarmTarget[],
  options: WarmPlanOptions,
): Promise<WarmPlan> {
  const plan = new Planning(options);
  for (const target of targets) await plan.add(target);
  return plan.plan();
}

class Planning {
  readonly #options: WarmPlanOptions;
  readonly #manifests = new Set<Digest>();
  readonly #blobs = new Map<Digest, number>();
  readonly #allowances: Allowances = new Map();
  #images = 0;
  #complete = 0;
  #pulls = 0;
  #isAtLeast = false;

  constructor(options: WarmPlanOptions) {
    this.#options = options;
  }

  async add(target: WarmTarget): Promise<void> {
    this.#images++;
    const { root, wanted, failures } = target;
    if (root === undefined) return;
    const { store, blobs, signal } = this.#options;
    const walk = await walkImage(root.digest, {
      platforms: wanted.platforms,
      read: async (digest) => store.getManifest(digest),
      hasBlob: async ({ digest }) => (await blobs.stat(digest)) !== undefined,
      signal,
    });
    const missing = walk.missing.filter(({ digest }) => !this.#manifests.has(digest));
    for (const { digest } of missing) this.#manifests.add(digest);
    for (const { digest, size } of walk.missingBlobs) this.#blobs.set(digest, size);
    const isWhole = walk.missingBlobs.length === 0 && walk.missing.length === 0;
    if (isWhole && failures.length === 0) this.#complete++;
    // A missing manifest may name further manifests and blobs.
    if (missing.length > 0) this.#isAtLeast = true;
    this.#spend(target, missing.length + (walk.manifests.length === 0 ? inIndex(target) : 0));
  }

  plan(): WarmPlan {
    return {
      images: this.#images,
      complete: this.#complete,
      pulls: this.#pulls,
      bytes: [...this.#blobs.values()].reduce((sum, size) => sum + size, 0),
      isAtLeast: this.#isAtLeast,
      allowances: [...this.#allowances.values()],
    };
  }

  #spend({ upstream, wanted }: WarmTarget, pulls: number): void {
    this.#pulls += pulls;
    const allowance = upstream?.allowance(wanted.image.repository.name);
    if (upstream === undefined || allowance === undefined) return;
    const key = `${upstream.host} ${allowance.identity}`;
    const before = this.#allowances.get(key)?.pulls ?? 0;
    this.#allowances.set(key, { ...allowance, host: upstream.host, pulls: before + pulls });
  }
}

/** A missing index leads to one manifest for each platform at least. */
function inIndex({ root, wanted }: WarmTarget): number {
  if (root?.mediaType === undefined || isImageManifestType(root.mediaType)) return 0;
  return Math.max(1, wanted.platforms.length);
}
