import type { BundledBlob } from '../../bundle/contents.ts';
import { BundleError } from '../../bundle/error.ts';
import { PartWriter } from '../../download/part-writer.ts';
import { digestHasher, hasherMatches, type Digest } from '../../oci/digest.ts';
import type { BlobPart, BlobStore } from '../../store/blobs.ts';

/** So many blobs may be on their way to the disk while further ones come: a sync takes its time. */
const MAX_FINISHING = 4;

/**
 * Reads a blob that is cached already, and keeps none of it: only whoever has its bytes has a claim to it, and what is
 * cached may be of a repository that the maker of the bundle cannot see. Throws BundleError `corrupt`.
 */
export async function requireRight({ digest }: BundledBlob, chunks: AsyncIterable<Buffer>): Promise<void> {
  const hasher = digestHasher(digest);
  for await (const chunk of chunks) hasher.update(chunk);
  if (!hasherMatches(hasher, digest)) throw changed(digest);
}

/** Takes blobs into the store, one after the other as their bytes come, and keeps what turns out to be right. */
export class BundleBlobs {
  readonly #blobs: BlobStore;
  readonly #finishing = new Set<Promise<void>>();
  #failure: { readonly error: unknown } | undefined;
  #storedBytes = 0;
  #stored = 0;

  constructor(blobs: BlobStore) {
    this.#blobs = blobs;
  }

  /** What was kept. */
  get totals(): { readonly blobs: number; readonly bytes: number } {
    return { blobs: this.#stored, bytes: this.#storedBytes };
  }

  /**
   * Resolves when all bytes have been read; they are hashed and kept while the next ones come. Throws BundleError
   * `corrupt`, of this blob or one before it, BlobStoreError, and what `chunks` throws.
   */
  async take(blob: BundledBlob, chunks: AsyncIterable<Buffer>): Promise<void> {
    while (this.#finishing.size >= MAX_FINISHING) await Promise.race(this.#finishing);
    this.#throwFailure();
    const part = await this.#newPart(blob);
    let hashed: Promise<void> = Promise.resolve();
    const writer = new PartWriter(part, 0, {
      onWritten: ({ end }) => {
        hashed = hashed.then(() => part.hashTo(end));
        hashed.catch(() => undefined);
      },
    });
    try {
      for await (const chunk of chunks) {
        this.#throwFailure();
        await writer.push(chunk);
      }
      await writer.flush();
    } catch (error) {
      await writer.flush().catch(() => undefined);
      await giveUp(part);
      throw error;
    }
    const finished = this.#finish(blob, part, hashed)
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => this.#finishing.delete(finished));
    this.#finishing.add(finished);
  }

  /** Resolves when everything is kept. Throws as `take` does. */
  async finish(): Promise<void> {
    await this.settled();
    this.#throwFailure();
  }

  /** Resolves when nothing is on its way to the disk. */
  async settled(): Promise<void> {
    await Promise.all(this.#finishing);
  }

  /** What a transfer has left of it is of no use where all of it comes. */
  async #newPart({ digest, size }: BundledBlob): Promise<BlobPart> {
    const part = await this.#blobs.createPart(digest, size);
    if (part.kept.length === 0) return part;
    await giveUp(part);
    return this.#blobs.createPart(digest, size);
  }

  async #finish({ digest, size }: BundledBlob, part: BlobPart, hashed: Promise<void>): Promise<void> {
    try {
      await hashed;
      if (!(await part.isRight())) {
        throw changed(digest);
      }
      await part.commit(size);
    } catch (error) {
      await giveUp(part);
      throw error;
    }
    await part.close();
    this.#stored++;
    this.#storedBytes += size;
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}

function changed(digest: Digest): BundleError {
  return new BundleError('corrupt', `the bundle was changed: what it has for ${digest} is something else`);
}

async function giveUp(part: BlobPart): Promise<void> {
  await part.discard().catch(() => undefined);
  await part.close();
}
