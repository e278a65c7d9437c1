import { counted } from '../../lib/text.ts';
import type { Limiter } from '../../lib/turns.ts';
import { NOBODY } from '../../mirror/answer/answers.ts';
import { PullError } from '../../mirror/answer/errors.ts';
import type { BlobPuller } from '../../mirror/blob/blobs.ts';
import type { Referrers } from '../../mirror/lists/referrers.ts';
import type { ManifestPuller } from '../../mirror/manifest/manifests.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Descriptor, Manifest } from '../../oci/manifest.ts';
import { formatPlatform } from '../../oci/platform.ts';
import { referrerDigests } from '../../oci/referrers.ts';
import { BlobStoreError, type BlobStore } from '../../store/blobs.ts';
import type { ManifestStore } from '../../store/manifests.ts';
import type { Upstream } from '../../upstream/upstream.ts';
import { blobsBesideAttestations, walkImage, type ImageWalk } from '../images/walk.ts';
import { platformNames } from '../images/wanted.ts';
import type { WarmProgress, WarmedImage } from '../protocol.ts';
import { askForTag, type WarmTarget } from './plan.ts';

/** The progress of a request, over all images. */
export class WarmTally {
  pulls = 0;
  readonly #totalImages: number;
  readonly #puller: Pick<BlobPuller, 'writtenBytes'>;
  readonly #missing = new Set<Digest>();
  readonly #running = new Set<Digest>();
  #images = 0;
  #totalBytes = 0;
  #fetchedBytes = 0;

  constructor(totalImages: number, puller: Pick<BlobPuller, 'writtenBytes'>) {
    this.#totalImages = totalImages;
    this.#puller = puller;
  }

  /** Bytes of the downloaded blobs. */
  get fetchedBytes(): number {
    return this.#fetchedBytes;
  }

  get progress(): WarmProgress {
    let bytes = this.#fetchedBytes;
    for (const digest of this.#running) bytes += this.#puller.writtenBytes(digest);
    const totalBytes = Math.max(bytes, this.#totalBytes);
    return { images: this.#images, totalImages: this.#totalImages, bytes, totalBytes };
  }

  imageIsOver(): void {
    this.#images++;
  }

  /** Counts a missing blob; false if another image has counted the blob before. */
  misses({ digest, size }: Descriptor): boolean {
    if (this.#missing.has(digest)) return false;
    this.#missing.add(digest);
    this.#totalBytes += size;
    return true;
  }

  begins({ digest }: Descriptor): void {
    this.#running.add(digest);
  }

  /** The download has ended. */
  ends({ digest, size }: Descriptor, result: 'stored' | 'failed'): void {
    this.#running.delete(digest);
    if (result === 'stored') this.#fetchedBytes += size;
  }
}

export interface WarmImageOptions {
  readonly manifests: ManifestPuller;
  readonly store: ManifestStore;
  readonly blobs: BlobStore;
  readonly puller: BlobPuller;
  readonly referrers: Referrers;
  readonly fills: Limiter;
  readonly tally: WarmTally;
  readonly signal: AbortSignal;
}

const NOTHING: ImageWalk = {
  manifests: [],
  blobs: [],
  foreign: [],
  missingBlobs: [],
  missing: [],
  unmatched: [],
};
/** Digests in one failure text. */
const MAX_NAMED = 3;

/** Downloads one image into the cache. */
export class WarmImage {
  readonly #target: WarmTarget;
  readonly #options: WarmImageOptions;
  /** Digests and other parts that failed, by reason. */
  readonly #failures = new Map<string, string[]>();
  readonly #notes: string[] = [];
  #walk = NOTHING;
  #fetchedBytes = 0;

  constructor(target: WarmTarget, options: WarmImageOptions) {
    this.#target = target;
    this.#options = options;
  }

  /** Never throws because of upstream or the disk: failures are in `result`. */
  async run(): Promise<void> {
    const { upstream, root, wanted } = this.#target;
    if (upstream === undefined || root === undefined) return;
    // First: if `allow` names only some tags, a digest may be pulled only if one of these names it.
    if (wanted.image.digest !== undefined && wanted.image.tag !== undefined) await this.#checkTag(upstream);
    this.#walk = await walkImage(root.digest, {
      platforms: wanted.platforms,
      read: (digest) => this.#manifest(upstream, digest),
      referrers: (subject) => this.#referrersOf(upstream, subject),
      signal: this.#options.signal,
    });
    const { missing, unmatched, blobs } = this.#walk;
    for (const { role, digest, reason } of missing) {
      // Clients can pull the image without its referrers.
      if (role === 'referrer') this.#notes.push(`without the referrer ${digest}: ${reason}`);
      else this.#fail(digest, reason);
    }
    for (const platform of unmatched) {
      this.#fail(formatPlatform(platform), 'the image has no manifest for this platform');
    }
    const ofImages = blobsBesideAttestations(this.#walk);
    await Promise.all(blobs.map((blob) => this.#blob(upstream, blob, ofImages)));
  }

  /** Finds parts of the image that were evicted for later images of the request. */
  async requireStill(): Promise<void> {
    if (this.#failures.size > 0) return;
    const { store, blobs } = this.#options;
    for (const { digest } of this.#walk.manifests) {
      if ((await store.getManifest(digest)) === undefined) this.#fail(digest, EVICTED);
    }
    for (const { digest } of this.#walk.blobs) {
      if ((await blobs.stat(digest)) === undefined) this.#fail(digest, EVICTED);
    }
  }

  get result(): WarmedImage {
    const { wanted, root, failures } = this.#target;
    const { manifests, blobs, foreign } = this.#walk;
    return {
      image: wanted.name,
      platforms: platformNames(wanted.platforms),
      digest: root?.digest,
      manifests: manifests.length,
      blobs: blobs.length,
      bytes: blobs.reduce((sum, { size }) => sum + size, 0),
      fetchedBytes: this.#fetchedBytes,
      failures: [...failures, ...[...this.#failures].map(([reason, what]) => failureText(what, reason))],
      notes: [
        ...this.#notes,
        ...(foreign.length === 0 ? [] : [`without ${counted(foreign.length, 'foreign layer')}`]),
      ],
    };
  }

  async #manifest(upstream: Upstream, digest: Digest): Promise<Manifest> {
    const { manifests, store, tally } = this.#options;
    const { repository } = this.#target.wanted.image;
    if ((await store.getManifest(digest)) === undefined) {
      // The last pulls of the limit are for clients.
      const shortage = upstream.shortage(repository.name);
      if (shortage !== undefined) throw new PullError('unavailable', shortage);
      tally.pulls++;
    }
    const reference = { kind: 'digest', digest } as const;
    const answer = await manifests.pull(upstream, { repository, reference, client: NOBODY, headOnly: false });
    return answer.manifest;
  }

  async #referrersOf(upstream: Upstream, subject: Digest): Promise<readonly { readonly digest: Digest }[]> {
    try {
      const { repository } = this.#target.wanted.image;
      const { bytes } = await this.#options.referrers.list(upstream, repository, subject);
      return referrerDigests(bytes).map((digest) => ({ digest }));
    } catch (error) {
      if (!(error instanceof PullError)) throw error;
      return [];
    }
  }

  async #blob(upstream: Upstream, blob: Descriptor, ofImages: ReadonlySet<Digest>): Promise<void> {
    const { blobs, fills, tally, signal, puller } = this.#options;
    const { digest, size } = blob;
    try {
      if ((await blobs.stat(digest)) !== undefined) return;
      const isFirst = tally.misses(blob);
      await fills.run(async () => {
        signal.throwIfAborted();
        if (isFirst) tally.begins(blob);
        await puller.store({ upstream, repository: this.#target.wanted.image.repository, digest });
      });
      if (!isFirst) return;
      tally.ends(blob, 'stored');
      this.#fetchedBytes += size;
    } catch (error) {
      tally.ends(blob, 'failed');
      if (!(error instanceof PullError || error instanceof BlobStoreError)) throw error;
      this.#fail(ofImages.has(digest) ? digest : `${digest} (attestation)`, error.message);
    }
  }

  /** Makes the tag of `name:tag@digest` pullable too. Only upstream decides which digest the tag names. */
  async #checkTag(upstream: Upstream): Promise<void> {
    const { wanted } = this.#target;
    try {
      const { head } = await askForTag(wanted, upstream, this.#options.manifests);
      if (head.digest === wanted.image.digest) return;
      this.#notes.push(`the tag names ${head.digest} now`);
    } catch (error) {
      if (!(error instanceof PullError)) throw error;
      this.#fail('the tag', error.message);
    }
  }

  #fail(what: string, reason: string): void {
    this.#failures.set(reason, [...(this.#failures.get(reason) ?? []), what]);
  }
}

const EVICTED = 'evicted again; the cache is too small for all images: raise `cacheSize`';

function failureText(what: readonly string[], reason: string): string {
  const more = what.length > MAX_NAMED ? ` and ${what.length - MAX_NAMED} more` : '';
  return `${what.slice(0, MAX_NAMED).join(', ')}${more}: ${reason}`;
}
