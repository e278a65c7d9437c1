import type { Digest } from '../oci/digest.ts';
import type { BlobPuller } from './blob-puller.ts';
import type { ClosureBlob } from './image-closure.ts';
import type { WarmProgress } from './image-warming.ts';

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
  misses({ digest, size }: ClosureBlob): boolean {
    if (this.#missing.has(digest)) return false;
    this.#missing.add(digest);
    this.#totalBytes += size;
    return true;
  }

  begins({ digest }: ClosureBlob): void {
    this.#running.add(digest);
  }

  /** It is stored now, or was given up. */
  ends({ digest, size }: ClosureBlob, result: 'stored' | 'failed'): void {
    this.#running.delete(digest);
    if (result === 'stored') this.#fetchedBytes += size;
  }
}
