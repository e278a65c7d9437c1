import { inTurns } from '../../lib/turns.ts';
import type { Digest } from '../../oci/digest.ts';
import { formatFullName } from '../../oci/image-name.ts';
import { isRunnableImage, parseManifest } from '../../oci/manifest.ts';
import type { Repository } from '../../oci/reference.ts';
import type { BlobStore } from '../../store/blobs.ts';
import type { StoredManifest } from '../../store/manifests.ts';
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
  async require(upstream: Upstream, repository: Repository, manifest: StoredManifest): Promise<void> {
    const outage = upstream.outage(repository.name);
    if (outage === undefined) return;
    const missing: Digest[] = [];
    for await (const digest of inTurns(blobsOf(manifest))) {
      if (!(await this.#isHere(digest))) missing.push(digest);
    }
    if (missing.length === 0) return;
    const named = missing.slice(0, MAX_NAMED).join(', ');
    const rest = missing.length > MAX_NAMED ? ` and ${missing.length - MAX_NAMED} more` : '';
    const name = formatFullName({ repository, digest: manifest.digest });
    throw new PullError('unavailable', `${name} is cached without its blobs ${named}${rest}, and ${outage}`);
  }

  async #isHere(digest: Digest): Promise<boolean> {
    const { blobs, isFilling } = this.#options;
    return isFilling(digest) || (await blobs.stat(digest)) !== undefined;
  }
}

/**
 * Foreign layers are left out: registries need not hold them, and clients get them elsewhere. So are the blobs of
 * attestations: only Docker 29 asks for them, and every other client is not to lose an image for them.
 */
function blobsOf(manifest: StoredManifest): readonly Digest[] {
  const { content } = parseManifest(manifest.bytes, manifest.mediaType);
  if (content.kind === 'index' || !isRunnableImage(content)) return [];
  return [content.config, ...content.layers].map(({ digest }) => digest);
}
