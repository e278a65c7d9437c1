import { createReadStream } from 'node:fs';
import { mkdir, open, readdir, rm, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { digestHasher, hasherMatches, type Digest } from '../../oci/digest.ts';
import {
  BlobStoreError,
  type BlobIndex,
  type BlobPart,
  type BlobStore,
  type StoredBlob,
} from '../blob-store.ts';
import { diskError, systemCode } from './disk-error.ts';
import { DiskPart } from './disk-part.ts';
import { blobPath, newPartPath, partsDirectory } from './layout.ts';

/** How much of the disk blobs and growing parts may take together. */
export type SizeLimit = { readonly bytes: number } | { readonly percent: number };

export interface DiskBlobStoreOptions {
  readonly dataDir: string;
  readonly index: BlobIndex;
  readonly limit: SizeLimit;
}

/** Blobs as plain files, one per digest, and an index that knows their sizes. Stale parts are removed at the start. */
export async function openDiskBlobStore(options: DiskBlobStoreOptions): Promise<BlobStore> {
  const parts = partsDirectory(options.dataDir);
  await mkdir(parts, { recursive: true });
  for (const name of await readdir(parts)) await rm(join(parts, name), { force: true });
  return new DiskBlobStore(options);
}

class DiskBlobStore implements BlobStore {
  readonly #options: DiskBlobStoreOptions;
  readonly #adoptions = new Map<Digest, Promise<number | undefined>>();
  #reservedBytes = 0;

  constructor(options: DiskBlobStoreOptions) {
    this.#options = options;
  }

  async stat(digest: Digest): Promise<{ readonly size: number } | undefined> {
    const size = this.#options.index.getBlob(digest)?.size;
    if (size === undefined) {
      const adopted = await this.#adopt(digest);
      return adopted === undefined ? undefined : { size: adopted };
    }
    const found = await fileSize(blobPath(this.#options.dataDir, digest));
    if (found === size) return { size };
    await this.remove(digest);
    return undefined;
  }

  async open(digest: Digest): Promise<StoredBlob | undefined> {
    const size = this.#options.index.getBlob(digest)?.size ?? (await this.#adopt(digest));
    if (size === undefined) return undefined;
    try {
      const file = await open(blobPath(this.#options.dataDir, digest), 'r');
      if ((await file.stat()).size === size) {
        return {
          size,
          read: async (buffer, length, position) => (await file.read(buffer, 0, length, position)).bytesRead,
          close: () => file.close(),
        };
      }
      await file.close();
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw diskError(error, `opening ${digest}`);
    }
    // Cut short or gone: a miss, so that it is fetched anew.
    await this.remove(digest);
    return undefined;
  }

  async createPart(digest: Digest, expectedSize: number | undefined): Promise<BlobPart> {
    const { dataDir, index } = this.#options;
    const reserve = expectedSize ?? 0;
    this.#reservedBytes += reserve;
    try {
      await this.#checkRoom();
      const path = newPartPath(dataDir, digest);
      return await DiskPart.create(path, {
        target: blobPath(dataDir, digest),
        onCommitted: (size) => index.putBlob(digest, { size }),
        onSettled: () => {
          this.#reservedBytes -= reserve;
        },
      });
    } catch (error) {
      this.#reservedBytes -= reserve;
      throw diskError(error, `making a part for ${digest}`);
    }
  }

  async remove(digest: Digest): Promise<void> {
    await this.#options.index.deleteBlob(digest);
    await rm(blobPath(this.#options.dataDir, digest), { force: true });
  }

  totals(): { readonly blobs: number; readonly bytes: number } {
    return this.#options.index.blobTotals();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  /** Throws BlobStoreError if what is stored and reserved exceeds the limit, or the file system has no room for it. */
  async #checkRoom(): Promise<void> {
    const { dataDir, limit } = this.#options;
    const stored = this.#options.index.blobTotals().bytes;
    const { bavail, bsize } = await statfs(dataDir);
    const free = bavail * bsize;
    const maxBytes = 'bytes' in limit ? limit.bytes : ((stored + free) * limit.percent) / 100;
    if (stored + this.#reservedBytes > maxBytes) {
      throw new BlobStoreError('no-space', `the cache is full: its limit is ${Math.floor(maxBytes)} bytes`);
    }
  }

  /**
   * A file that the index does not know was left by a process that was killed between rename and index: it is taken
   * in if it is what its name says.
   */
  #adopt(digest: Digest): Promise<number | undefined> {
    const running = this.#adoptions.get(digest);
    if (running !== undefined) return running;
    const adoption = this.#verifyAndIndex(digest).finally(() => this.#adoptions.delete(digest));
    this.#adoptions.set(digest, adoption);
    return adoption;
  }

  async #verifyAndIndex(digest: Digest): Promise<number | undefined> {
    const path = blobPath(this.#options.dataDir, digest);
    const size = await fileSize(path);
    if (size === undefined) return undefined;
    const hasher = digestHasher(digest);
    for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024 })) {
      hasher.update(chunk as Buffer);
    }
    if (!hasherMatches(hasher, digest)) {
      await rm(path, { force: true });
      return undefined;
    }
    await this.#options.index.putBlob(digest, { size });
    return size;
  }
}

async function fileSize(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw diskError(error, 'looking for a blob');
  }
}
