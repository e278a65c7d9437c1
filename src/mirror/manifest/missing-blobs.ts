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
  /** Whether a fill of the blob is running. */
  readonly isFilling: (digest: Digest) => boolean;
}

/** Blobs in an error message: an image can miss a hundred. */
const MAX_NAMED = 5;

/**
 * Refuses partial images while upstream is unreachable. A client with a manifest from a mirror fails if a blob is
 * missing (Podman, Skopeo and kaniko then ask no other registry). Without the manifest, it asks its next registry.
 */
export class MissingBlobs {
  readonly #options: MissingBlobsOptions;

  constructor(options: MissingBlobsOptions) {
    this.#options = options;
  }

  /**
   * Throws PullError `unavailable`, with the missing blobs, if upstream is unreachable and blobs of `manifest` are
   * neither stored nor being downloaded. Costs nothing while upstream is reachable.
   */
  require(upstream: Upstream, repository: Repository, manifest: Manifest): MaybePromise<void> {
    const outage = upstream.outage(repository.name);
    return outage === undefined ? undefined : this.#requireIn(outage, repository, manifest);
  }

  async #requireIn(outage: string, repository: Repository, manifest: Manifest): Promise<void> {
    // Only Docker 29 needs the blobs of attestations; other clients must not lose an image for them.
    const { content } = parseManifest(manifest.bytes, manifest.descriptor.mediaType);
    if (!isRunnableImage(content)) return;
    const missing = await findMissing(blobsOf(content), ({ digest }) => this.#isAvailable(digest));
    if (missing.length === 0) return;
    const digests = missing.map(({ digest }) => digest);
    const named = digests.slice(0, MAX_NAMED).join(', ');
    const rest = missing.length > MAX_NAMED ? ` and ${missing.length - MAX_NAMED} more` : '';
    const name = formatFullName({ repository, digest: manifest.descriptor.digest });
    throw new PullError('unavailable', `${name} is cached without its blobs ${named}${rest}, and ${outage}`);
  }

  async #isAvailable(digest: Digest): Promise<boolean> {
    const { blobs, isFilling } = this.#options;
    return isFilling(digest) || (await blobs.stat(digest)) !== undefined;
  }
}

/** The missing ones of `blobs`, in order. */
export async function findMissing(
  blobs: readonly Descriptor[],
  isAvailable: (blob: Descriptor) => Promise<boolean>,
): Promise<Descriptor[]> {
  const missing: Descriptor[] = [];
  for await (const blob of inTurns(blobs)) if (!(await isAvailable(blob))) missing.push(blob);
  return missing;
}
