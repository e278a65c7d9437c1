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

/** How far bringing in images has come, all of them together. */
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

  /** Of the blobs that were fetched. */
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

  /** A blob is missing; false if another image has said so already. */
  misses({ digest, size }: Descriptor): boolean {
    if (this.#missing.has(digest)) return false;
    this.#missing.add(digest);
    this.#totalBytes += size;
    return true;
  }

  begins({ digest }: Descriptor): void {
    this.#running.add(digest);
  }

  /** It is stored now, or was given up. */
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
/** Things that one failure names. */
const MAX_NAMED = 3;

/** Brings one image in. */
export class WarmImage {
  readonly #target: WarmTarget;
  readonly #options: WarmImageOptions;
  /** What failed, by why. */
  readonly #failures = new Map<string, string[]>();
  readonly #notes: string[] = [];
  #walk = NOTHING;
  #fetchedBytes = 0;

  constructor(target: WarmTarget, options: WarmImageOptions) {
    this.#target = target;
    this.#options = options;
  }

  /** Ends with what cannot be had among the failures of the result. */
  async run(): Promise<void> {
    const { upstream, root, wanted } = this.#target;
    if (upstream === undefined || root === undefined) return;
    // First: where only some tags may be pulled, a digest may be that one of them is known to name.
    if (wanted.image.digest !== undefined && wanted.image.tag !== undefined) await this.#checkTag(upstream);
    this.#walk = await walkImage(root.digest, {
      platforms: wanted.platforms,
      read: (digest) => this.#manifest(upstream, digest),
      referrers: (subject) => this.#referrersOf(upstream, subject),
      signal: this.#options.signal,
    });
    const { missing, unmatched, blobs } = this.#walk;
    for (const { role, digest, reason } of missing) {
      // Clients get on without what speaks of an image from outside.
      if (role === 'referrer') this.#notes.push(`without ${digest}, which refers to it: ${reason}`);
      else this.#fail(digest, reason);
    }
    for (const platform of unmatched) this.#fail(formatPlatform(platform), 'it is not made for that');
    const ofImages = blobsBesideAttestations(this.#walk);
    await Promise.all(blobs.map((blob) => this.#blob(upstream, blob, ofImages)));
  }

  /** Finds out whether what was brought in is there still: what came later may have pushed it out. */
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
      ...(root === undefined ? {} : { digest: root.digest }),
      manifests: manifests.length,
      blobs: blobs.length,
      bytes: blobs.reduce((sum, { size }) => sum + size, 0),
      fetchedBytes: this.#fetchedBytes,
      failures: [...failures, ...[...this.#failures].map(([reason, what]) => failureText(what, reason))],
      notes: [
        ...this.#notes,
        ...(foreign.length === 0 ? [] : [`${foreign.length} of its layers are held elsewhere`]),
      ],
    };
  }

  async #manifest(upstream: Upstream, digest: Digest): Promise<Manifest> {
    const { manifests, store, tally } = this.#options;
    const { repository } = this.#target.wanted.image;
    if ((await store.getManifest(digest)) === undefined) {
      // The last pulls are for clients that wait.
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
      this.#fail(ofImages.has(digest) ? digest : `${digest} of its attestation`, error.message);
    }
  }

  /** What is wanted by its digest is wanted under its tag as well, which moves by upstream's word alone. */
  async #checkTag(upstream: Upstream): Promise<void> {
    const { wanted } = this.#target;
    try {
      const { head } = await askForTag(wanted, upstream, this.#options.manifests);
      if (head.digest === wanted.image.digest) return;
      this.#notes.push(`its tag names ${head.digest} by now`);
    } catch (error) {
      if (!(error instanceof PullError)) throw error;
      this.#fail('its tag', error.message);
    }
  }

  #fail(what: string, reason: string): void {
    this.#failures.set(reason, [...(this.#failures.get(reason) ?? []), what]);
  }
}

const EVICTED = 'it had to make room for others: the cache is too small for all of this';

function failureText(what: readonly string[], reason: string): string {
  const more = what.length > MAX_NAMED ? ` and ${what.length - MAX_NAMED} more` : '';
  return `${what.slice(0, MAX_NAMED).join(', ')}${more}: ${reason}`;
}
