import type { BundledBlob } from '../../bundle/contents.ts';
import { BundleError } from '../../bundle/error.ts';
import { PartWriter } from '../../download/part-writer.ts';
import { digestHasher, hasherMatches, type Digest } from '../../oci/digest.ts';
import type { BlobPart, BlobStore } from '../../store/blobs.ts';

/** Blobs that are hashed and synced while the next blobs arrive. A sync is slow. */
const MAX_FINISHING = 4;

/**
 * Verifies the bytes of a blob that is already cached, and stores nothing. The cached blob may be private in another
 * repository, so a bundle must prove that its author has the bytes. Throws BundleError `corrupt`.
 */
export async function requireRight({ digest }: BundledBlob, chunks: AsyncIterable<Buffer>): Promise<void> {
  const hasher = digestHasher(digest);
  for await (const chunk of chunks) hasher.update(chunk);
  if (!hasherMatches(hasher, digest)) throw changed(digest);
}

/** Stores the blobs of a bundle in the order of the stream. Discards blobs with a wrong digest. */
export class BundleBlobs {
  readonly #blobs: BlobStore;
  readonly #finishing = new Set<Promise<void>>();
  #failure: { readonly error: unknown } | undefined;
  #storedBytes = 0;
  #stored = 0;

  constructor(blobs: BlobStore) {
    this.#blobs = blobs;
  }

  /** Stored blobs and their bytes. */
  get totals(): { readonly blobs: number; readonly bytes: number } {
    return { blobs: this.#stored, bytes: this.#storedBytes };
  }

  /**
   * Resolves when all bytes are written. Hash and sync go on while the next blob arrives. Throws BundleError `corrupt` of
   * this blob or an earlier one, BlobStoreError, and the errors of `chunks`.
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

  /** Resolves when all blobs are stored. Throws as `take` does. */
  async finish(): Promise<void> {
    await this.settled();
    this.#throwFailure();
  }

  /** Resolves when no blob is being hashed or synced, after a failure too. */
  async settled(): Promise<void> {
    await Promise.all(this.#finishing);
  }

  /** Discards the kept bytes of a broken download: the bundle has all bytes. */
  async #newPart({ digest, size }: BundledBlob): Promise<BlobPart> {
    const part = await this.#blobs.createPart(digest, size);
    if (part.kept.length === 0) return part;
    await giveUp(part);
    return this.#blobs.createPart(digest, size);
  }

  async #finish({ digest, size }: BundledBlob, part: BlobPart, hashed: Promise<void>): Promise<void> {
    try {
      await hashed;
      if (!(await part.isRight())) throw changed(digest);
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
  return new BundleError('corrupt', `the bundle is damaged: its bytes for ${digest} have another digest`);
}

async function giveUp(part: BlobPart): Promise<void> {
  await part.discard().catch(() => undefined);
  await part.close();
}
