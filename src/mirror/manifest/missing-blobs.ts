import type { MaybePromise } from '../../lib/promises.ts';
import { inTurns } from '../../lib/turns.ts';
import type { Digest } from '../../oci/digest.ts';
import { formatFullName } from '../../oci/image-name.ts';
import {
  blobsOf,
  isRunnableImage,
  parseManifest,
  type Descriptor,
  type Manifest,
} from '../../oci/manifest.ts';
import type { Repository } from '../../oci/reference.ts';
import type { BlobStore } from '../../store/blobs.ts';
import type { Upstream } from '../../upstream/upstream.ts';
import { PullError } from '../answer/errors.ts';

export interface MissingBlobsOptions {
  readonly blobs: BlobStore;
  /** Whether a transfer of the blob is under way. */
  readonly isFilling: (digest: Digest) => boolean;
}

/** What is missing may be a hundred layers; the first few are enough to know which image it is. */
const MAX_NAMED = 5;

/**
 * Keeps back images that cannot be completed: a client that has taken a manifest from a mirror fails if its blobs are
 * not there (Podman, Skopeo, kaniko ask no other registry then), while without the manifest it turns to the next one.
 */
export class MissingBlobs {
  readonly #options: MissingBlobsOptions;

  constructor(options: MissingBlobsOptions) {
    this.#options = options;
  }

  /**
   * Throws PullError `unavailable`, which names what is missing, if `manifest` is an image whose blobs are neither
   * stored nor on their way while upstream is known to be out of reach. Costs nothing while it is in reach.
   */
  require(upstream: Upstream, repository: Repository, manifest: Manifest): MaybePromise<void> {
    const outage = upstream.outage(repository.name);
    return outage === undefined ? undefined : this.#requireIn(outage, repository, manifest);
  }

  async #requireIn(outage: string, repository: Repository, manifest: Manifest): Promise<void> {
    // Other clients than Docker 29 do not ask for the blobs of attestations, and are not to lose an image for them.
    const { content } = parseManifest(manifest.bytes, manifest.descriptor.mediaType);
    if (!isRunnableImage(content)) return;
    const missing = await findMissing(blobsOf(content), ({ digest }) => this.#isHere(digest));
    if (missing.length === 0) return;
    const digests = missing.map(({ digest }) => digest);
    const named = digests.slice(0, MAX_NAMED).join(', ');
    const rest = missing.length > MAX_NAMED ? ` and ${missing.length - MAX_NAMED} more` : '';
    const name = formatFullName({ repository, digest: manifest.descriptor.digest });
    throw new PullError('unavailable', `${name} is cached without its blobs ${named}${rest}, and ${outage}`);
  }

  async #isHere(digest: Digest): Promise<boolean> {
    const { blobs, isFilling } = this.#options;
    return isFilling(digest) || (await blobs.stat(digest)) !== undefined;
  }
}

/** Those of `blobs` that are not here, in order. */
export async function findMissing(
  blobs: readonly Descriptor[],
  isHere: (blob: Descriptor) => Promise<boolean>,
): Promise<Descriptor[]> {
  const missing: Descriptor[] = [];
  for await (const blob of inTurns(blobs)) if (!(await isHere(blob))) missing.push(blob);
  return missing;
}
