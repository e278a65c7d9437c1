import { open, rm, stat } from 'node:fs/promises';
import { Extents } from '../../lib/extents.ts';
import { digestAlgorithm, digestHex, type Digest } from '../../oci/digest.ts';
import type {
  BlobIndex,
  BlobPart,
  BlobStore,
  BlobStoreError,
  KeptExtents,
  StoredBlob,
} from '../blob-store.ts';
import { diskError, systemCode } from './disk-error.ts';
import { DiskHealth } from './disk-health.ts';
import { DiskPart } from './disk-part.ts';
import { HashThread } from './hash-thread.ts';
import { KeptParts, type KeptPart } from './kept-parts.ts';
import { blobPath, newPartPath } from './layout.ts';
import { removeJournal } from './part-journal.ts';
import type { Reservation, Room } from './room.ts';

export interface DiskBlobStoreOptions {
  readonly dataDir: string;
  readonly index: BlobIndex;
  readonly room: Room;
  /** Told when the disk begins to refuse what it is given, and with undefined when it works again. */
  readonly onHealth?: (error: BlobStoreError | undefined) => void;
  /** Told of each blob that was not as it was kept when it was asked for. */
  readonly onLost?: (digest: Digest, problem: 'short' | 'missing') => void;
}

/** Blobs as plain files, one per digest, an index that knows their sizes, and parts that earlier processes left. */
export async function openDiskBlobStore(options: DiskBlobStoreOptions): Promise<BlobStore> {
  return new DiskBlobStore(options, await KeptParts.open(options.dataDir, options.room));
}

class DiskBlobStore implements BlobStore {
  readonly #options: DiskBlobStoreOptions;
  readonly #kept: KeptParts;
  readonly #health: DiskHealth;
  readonly #hashes = new HashThread();
  readonly #adoptions = new Map<Digest, Promise<number | undefined>>();

  constructor(options: DiskBlobStoreOptions, kept: KeptParts) {
    this.#options = options;
    this.#kept = kept;
    this.#health = new DiskHealth(options.dataDir, options.onHealth ?? (() => undefined));
  }

  get isFailing(): boolean {
    return this.#health.isFailing;
  }

  async stat(digest: Digest): Promise<{ readonly size: number } | undefined> {
    const size = this.#options.index.getBlob(digest)?.size;
    if (size === undefined) {
      const adopted = await this.#adopt(digest);
      return adopted === undefined ? undefined : { size: adopted };
    }
    const found = await fileSize(blobPath(this.#options.dataDir, digest));
    if (found === size) return { size };
    await this.#lose(digest, found);
    return undefined;
  }

  async open(digest: Digest): Promise<StoredBlob | undefined> {
    const size = this.#options.index.getBlob(digest)?.size ?? (await this.#adopt(digest));
    if (size === undefined) return undefined;
    let found: number | undefined;
    try {
      const file = await open(blobPath(this.#options.dataDir, digest), 'r');
      found = (await file.stat()).size;
      if (found === size) {
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
    await this.#lose(digest, found);
    return undefined;
  }

  keptPart(digest: Digest): KeptExtents | undefined {
    return this.#kept.get(digest);
  }

  async createPart(digest: Digest, expectedSize: number | undefined): Promise<BlobPart> {
    try {
      const kept = await this.#takeKept(digest, expectedSize);
      const reservation = await this.#reserve(expectedSize ?? new Extents(kept?.written).bytes);
      kept?.reservation.release();
      return await this.#openPart(digest, expectedSize, reservation, kept).catch(async (error: unknown) => {
        reservation.release();
        throw error;
      });
    } catch (cause) {
      const error = diskError(cause, `making a part for ${digest}`);
      this.#health.failed(error);
      throw error;
    }
  }

  async remove(digest: Digest): Promise<void> {
    await this.#options.index.deleteBlob(digest);
    await rm(blobPath(this.#options.dataDir, digest), { force: true });
  }

  totals(): { readonly blobs: number; readonly bytes: number } {
    return this.#options.index.blobTotals();
  }

  async close(): Promise<void> {
    this.#kept.close();
    this.#health.close();
    await this.#hashes.close();
  }

  /** Cut short or gone: a miss, so that it is fetched anew. */
  async #lose(digest: Digest, foundBytes: number | undefined): Promise<void> {
    // Removed since it was looked up: nothing was lost.
    if (this.#options.index.getBlob(digest) === undefined) return;
    await this.remove(digest);
    this.#options.onLost?.(digest, foundBytes === undefined ? 'missing' : 'short');
  }

  /** What was kept of the blob, unless that cannot be a part of a blob of `size` bytes. */
  async #takeKept(digest: Digest, size: number | undefined): Promise<KeptPart | undefined> {
    const kept = this.#kept.take(digest);
    if (kept === undefined || kept.size === undefined || size === undefined || kept.size === size)
      return kept;
    await this.#forget(kept);
    return undefined;
  }

  /** Rather than refuse a transfer that somebody waits for, those that nobody has come back to are given up. */
  async #reserve(bytes: number): Promise<Reservation> {
    for (;;) {
      try {
        return await this.#options.room.reserve(bytes);
      } catch (error) {
        if (!(await this.#kept.dropOldest())) throw error;
      }
    }
  }

  async #openPart(
    digest: Digest,
    size: number | undefined,
    reservation: Reservation,
    kept: KeptPart | undefined,
  ): Promise<BlobPart> {
    const { dataDir, index } = this.#options;
    const options = {
      digest,
      size,
      target: blobPath(dataDir, digest),
      reservation,
      hashes: this.#hashes,
      health: this.#health,
      onCommitted: (bytes: number) => index.putBlob(digest, { size: bytes }),
      onKept: (part: Omit<KeptPart, 'keptAt'>) => this.#kept.put(digest, part),
    };
    const fresh = { ...options, path: newPartPath(dataDir, digest), kept: undefined };
    if (kept === undefined) return DiskPart.open(fresh);
    try {
      return await DiskPart.open({ ...options, path: kept.path, kept: kept.written });
    } catch {
      await this.#forget(kept);
      return DiskPart.open(fresh);
    }
  }

  async #forget(kept: KeptPart): Promise<void> {
    await rm(kept.path, { force: true }).catch(() => undefined);
    await removeJournal(kept.path).catch(() => undefined);
    kept.reservation.release();
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
    const hash = this.#hashes.open(path, digestAlgorithm(digest));
    try {
      await hash.advance(size);
      if ((await hash.digest()) === digestHex(digest)) {
        await this.#options.index.putBlob(digest, { size });
        return size;
      }
    } catch (error) {
      throw diskError(error, `reading ${digest}`);
    } finally {
      hash.close();
    }
    await rm(path, { force: true });
    return undefined;
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
