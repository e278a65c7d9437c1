import { rm, stat } from 'node:fs/promises';
import { LRUCache } from 'lru-cache';
import type { Tell } from '../../events/events.ts';
import { atMost } from '../../lib/caches.ts';
import { Extents } from '../../lib/extents.ts';
import { openRegularFile } from '../../lib/files.ts';
import type { Digest } from '../../oci/digest.ts';
import {
  BlobStoreError,
  type BlobIndex,
  type BlobPart,
  type BlobStore,
  type KeptExtents,
  type StoredBlob,
  type BlobFiles,
} from '../blobs.ts';
import { SharedBlocks } from '../part/blocks.ts';
import { diskError, isMissing, fileState } from '../part/disk-error.ts';
import { DiskHealth } from '../part/disk-health.ts';
import { HashThread } from '../part/hashing.ts';
import { removePart } from '../part/journal.ts';
import { KeptParts, type KeptPart } from '../part/kept.ts';
import { blobPath, newPartPath } from '../part/layout.ts';
import { DiskPart, type DiskPartOptions } from '../part/part.ts';
import { NoRoomError, type Reservation, type Room } from '../room.ts';
import { Adoptions } from './adoptions.ts';
import type { BlobLeases } from './leases.ts';
import { OpenFiles } from './open-files.ts';

export interface DiskBlobStoreOptions {
  readonly dataDir: string;
  readonly index: BlobIndex;
  readonly room: Room;
  readonly leases: BlobLeases;
  /** Called when a client opens a cached blob. */
  readonly onRead?: (digest: Digest) => void;
  readonly tell: Tell<'diskHealth' | 'blobLost'>;
}

/**
 * How long a blob that broke off while it was read is not opened: each client would be cut off at the same byte. One that
 * could not be opened is tried each time.
 */
const UNREADABLE_FOR_MS = 60 * 1000;
const MAX_UNREADABLE = 10_000;

/** Blobs as plain files, one per digest, an index with their sizes, and parts that earlier processes left. */
export async function openDiskBlobStore(options: DiskBlobStoreOptions): Promise<BlobStore> {
  return new DiskBlobStore(options, await KeptParts.open(options.dataDir, options.room));
}

class DiskBlobStore implements BlobStore {
  readonly #options: DiskBlobStoreOptions;
  readonly #kept: KeptParts;
  readonly #health: DiskHealth;
  readonly #hashes = new HashThread();
  readonly #blocks = new SharedBlocks();
  readonly #files = new OpenFiles({
    maxIdle: 256,
    idleMs: 2000,
    maxContentBytes: 256 * 1024,
    maxContentsBytes: 32 * 1024 * 1024,
    blocks: this.#blocks,
  });
  readonly #unreadable = new LRUCache<Digest, 'opening' | 'reading'>({
    ...atMost(MAX_UNREADABLE),
    ttl: UNREADABLE_FOR_MS,
  });
  readonly #adoptions: Adoptions;

  constructor(options: DiskBlobStoreOptions, kept: KeptParts) {
    this.#options = options;
    this.#kept = kept;
    this.#adoptions = new Adoptions({ ...options, hashes: this.#hashes });
    this.#health = new DiskHealth(options.dataDir, (error) =>
      options.tell('diskHealth', { reason: error?.message }),
    );
    options.leases.onRemoval((digest) => this.#files.forget(blobPath(options.dataDir, digest)));
  }

  get isFailing(): boolean {
    return this.#health.isFailing;
  }

  get isUnreadable(): boolean {
    this.#unreadable.purgeStale();
    return this.#unreadable.size > 0;
  }

  async stat(digest: Digest): Promise<{ readonly size: number } | undefined> {
    await this.#options.leases.removed(digest);
    const size = this.#options.index.getBlob(digest)?.size;
    if (size === undefined) {
      const adopted = await this.#adoptions.adopt(digest);
      return adopted === undefined ? undefined : { size: adopted };
    }
    const found = (await fileState(blobPath(this.#options.dataDir, digest)))?.size;
    if (found === size) return { size };
    await this.#lose(digest, found);
    return undefined;
  }

  async open(digest: Digest): Promise<StoredBlob | undefined> {
    const { leases, onRead } = this.#options;
    const release = leases.hold(digest);
    const blob = await this.#open(digest, release).catch((error: unknown) => {
      release();
      throw error;
    });
    if (blob === undefined) release();
    else onRead?.(digest);
    return blob;
  }

  async #open(digest: Digest, release: () => void): Promise<StoredBlob | undefined> {
    const { dataDir, leases, index } = this.#options;
    await leases.removed(digest);
    if (this.#unreadable.get(digest) === 'reading') {
      throw new BlobStoreError('disk-failed', `${digest} cannot be read`);
    }
    let found: number | undefined;
    const path = blobPath(dataDir, digest);
    try {
      const size = index.getBlob(digest)?.size ?? (await this.#adoptions.adopt(digest));
      if (size === undefined) return undefined;
      const file = await this.#files.lease(path);
      if (this.#unreadable.get(digest) === 'opening') this.#unreadable.delete(digest);
      found = file.size;
      if (found === size) {
        return {
          size,
          content: file.content,
          read: (buffer, length, position) =>
            file
              .read(buffer, length, position)
              .catch((error: unknown) => this.#cannotRead(digest, 'reading', error)),
          close: async () => {
            release();
            file.release();
          },
        };
      }
      file.release();
    } catch (error) {
      if (!isMissing(error)) this.#cannotRead(digest, 'opening', error);
    }
    await this.#lose(digest, found);
    return undefined;
  }

  keptPart(digest: Digest): KeptExtents | undefined {
    return this.#kept.get(digest);
  }

  async createPart(digest: Digest, expectedSize: number | undefined): Promise<BlobPart> {
    const release = this.#options.leases.hold(digest);
    try {
      await this.#options.leases.removed(digest);
      const kept = this.#takeKept(digest, expectedSize);
      const bytes = expectedSize ?? new Extents(kept?.written).bytes;
      const reservation = await this.#reserve(digest, bytes, kept);
      const options = { digest, size: expectedSize, reservation, onClosed: release };
      return await this.#openPart(options, kept).catch(async (error: unknown) => {
        reservation.release();
        throw error;
      });
    } catch (cause) {
      release();
      const error = diskError(cause, `making a part for ${digest}`);
      this.#health.failed(error);
      throw error;
    }
  }

  async remove(digest: Digest): Promise<void> {
    this.#unreadable.delete(digest);
    // An entry without its file is a miss.
    await this.#options.index.deleteBlob(digest).catch(() => undefined);
    const path = blobPath(this.#options.dataDir, digest);
    this.#files.forget(path);
    await rm(path, { force: true });
  }

  totals(): { readonly blobs: number; readonly bytes: number } {
    return this.#options.index.blobTotals();
  }

  async close(): Promise<void> {
    this.#kept.close();
    this.#health.close();
    this.#files.close();
    await this.#hashes.close();
  }

  /** The file stays, because the disk may recover. Requests for the blob go upstream meanwhile. */
  #cannotRead(digest: Digest, doing: 'opening' | 'reading', cause: unknown): never {
    const error = diskError(cause, `${doing} ${blobPath(this.#options.dataDir, digest)}`);
    if (!this.#unreadable.has(digest)) {
      this.#options.tell('blobLost', { digest, problem: 'unreadable', reason: error.message });
    }
    this.#unreadable.set(digest, doing);
    throw error;
  }

  /** The file is short or missing: the entry goes, so that the blob is downloaded again. */
  async #lose(digest: Digest, foundBytes: number | undefined): Promise<void> {
    // Removed since the look-up: nothing was lost.
    if (this.#options.index.getBlob(digest) === undefined) return;
    // If the disk refuses, the next request finds the same file and tries again.
    await this.remove(digest).catch(() => undefined);
    this.#options.tell('blobLost', { digest, problem: foundBytes === undefined ? 'missing' : 'short' });
  }

  /**
   * The kept part of the blob. If its size contradicts `size`, either can be wrong: the kept part stays unused until
   * the blob is cached.
   */
  #takeKept(digest: Digest, size: number | undefined): KeptPart | undefined {
    const known = this.#kept.get(digest)?.size;
    const contradicts = known !== undefined && size !== undefined && known !== size;
    return contradicts ? undefined : this.#kept.take(digest);
  }

  /**
   * A kept part has a reservation for its written bytes only. If there is no room for the rest, other kept parts are
   * removed, oldest first: a client waits for this one. None is removed if all of them together are too small.
   */
  async #reserve(digest: Digest, bytes: number, kept: KeptPart | undefined): Promise<Reservation> {
    for (;;) {
      try {
        if (kept === undefined) return await this.#options.room.reserve(bytes);
        await kept.reservation.resize(bytes);
        return kept.reservation;
      } catch (error) {
        const mayHelp = error instanceof NoRoomError && error.missingBytes <= this.#kept.bytes;
        if (mayHelp && (await this.#kept.dropOldest())) continue;
        if (kept !== undefined) await this.#kept.put(digest, kept);
        throw error;
      }
    }
  }

  async #openPart(
    part: Pick<DiskPartOptions, 'digest' | 'size' | 'reservation' | 'onClosed'>,
    kept: KeptPart | undefined,
  ): Promise<BlobPart> {
    const { dataDir } = this.#options;
    const { digest } = part;
    const options = {
      ...part,
      target: blobPath(dataDir, digest),
      hashes: this.#hashes,
      health: this.#health,
      blocks: this.#blocks,
      onCommitted: (bytes: number) => this.#enter(digest, bytes),
      onKept: (left: Omit<KeptPart, 'keptAt'>) => this.#kept.put(digest, left),
    };
    const fresh = { ...options, path: newPartPath(dataDir, digest), kept: undefined };
    if (kept === undefined) return DiskPart.open(fresh);
    try {
      return await DiskPart.open({ ...options, path: kept.path, kept: kept.written });
    } catch {
      await removePart(kept.path);
      return DiskPart.open(fresh);
    }
  }

  /** A file without an index entry would not be counted and never be evicted: it is removed. */
  async #enter(digest: Digest, size: number): Promise<void> {
    try {
      await this.#options.index.putBlob(digest, { size });
    } catch (error) {
      await rm(blobPath(this.#options.dataDir, digest), { force: true }).catch(() => undefined);
      throw diskError(error, `entering ${digest}`);
    }
    await this.#kept.drop(digest);
  }
}

const CHUNK_BYTES = 1024 * 1024;

export function createBlobFiles(dataDir: string, index: Pick<BlobIndex, 'getBlob'>): BlobFiles {
  return {
    size: async (digest) => {
      const size = index.getBlob(digest)?.size;
      if (size === undefined) return undefined;
      const found = await stat(blobPath(dataDir, digest)).catch((error: unknown) => {
        if (!isMissing(error)) throw error;
      });
      return found?.isFile() === true && found.size === size ? size : undefined;
    },
    read: (digest) => contentOf(dataDir, digest),
  };
}

async function* contentOf(dataDir: string, digest: Digest): AsyncGenerator<Buffer, void> {
  const file = await openRegularFile(blobPath(dataDir, digest));
  yield* file.createReadStream({ highWaterMark: CHUNK_BYTES }) as AsyncIterable<Buffer>;
}
