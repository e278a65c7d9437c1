import { readdir, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import type { Tell } from '../../events/events.ts';
import type { Digest } from '../../oci/digest.ts';
import type { BlobLeases } from '../blob/leases.ts';
import { isPinned } from '../index/closure.ts';
import type { Removed } from '../index/removal.ts';
import { partsDirectory } from '../part/layout.ts';
import type { Room } from '../room.ts';
import { Evictor } from './evictor.ts';
import { PinnedBytes, Protection } from './protection.ts';
import { Remover, type RemovalReason } from './remover.ts';
import { DiskRoom, type RoomFigures } from './room.ts';
import { Sweep, type SweepOptions } from './sweep.ts';
import { UsageBuffer } from './usage.ts';

/** The unit of `st_blocks` (stat(2)). */
const BLOCK_BYTES = 512;

/** The setting `cacheSize`. */
export type SizeLimit = { readonly bytes: number } | { readonly percent: number };

/**
 * The limit in bytes. A percentage is of the free bytes plus the bytes of the cache (`storedBytes` and the parts). It
 * is measured once, so that the growth of the cache and of other programs does not move it.
 */
export async function measureLimit(dataDir: string, limit: SizeLimit, storedBytes: number): Promise<number> {
  if ('bytes' in limit) return limit.bytes;
  const own = storedBytes + (await allocatedPartBytes(dataDir));
  return Math.floor(((own + (await freeBytes(dataDir))) * limit.percent) / 100);
}

/** Bytes of all blob files on disk, for an index that was lost. */
export async function blobFileBytes(dataDir: string): Promise<number> {
  const root = join(dataDir, 'blobs');
  let bytes = 0;
  for (const algorithm of await readdir(root).catch(() => [])) {
    for (const prefix of await readdir(join(root, algorithm)).catch(() => [])) {
      bytes += await fileBytes(join(root, algorithm, prefix));
    }
  }
  return bytes;
}

/** Bytes that this user can write on the file system. */
export async function freeBytes(dataDir: string): Promise<number> {
  const { bavail, bsize } = await statfs(dataDir);
  return bavail * bsize;
}

/** Bytes on disk of all parts. Parts are sparse files, so these are less than their sizes. */
export async function allocatedPartBytes(dataDir: string): Promise<number> {
  return fileBytes(partsDirectory(dataDir));
}

async function fileBytes(folder: string): Promise<number> {
  const names = await readdir(folder).catch(() => []);
  const sizes = await Promise.all(
    names.map(async (name) => {
      const file = await stat(join(folder, name)).catch(() => undefined);
      return file === undefined ? 0 : file.blocks * BLOCK_BYTES;
    }),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

/**
 * Bytes that stay free on the file system: twice the margin of the index, which can still be written when parts cannot.
 */
const MAX_MARGIN_BYTES = 32 * 1024 * 1024;
const MARGIN_SHARE = 0.04;
/**
 * The part of the limit that stays free for the index. It grows with each manifest, tag and link, without reservations.
 * A transaction with the largest manifest takes about 5 MiB; eviction makes up for it at once.
 */
const MAX_INDEX_MARGIN_BYTES = 16 * 1024 * 1024;
const INDEX_MARGIN_SHARE = 0.01;
/** Tables that eviction does not shrink: they have limits of their own, or are made by users. */
const KEPT_TABLES: ReadonlySet<string> = new Set([
  'bookmarks',
  'history',
  'meta',
  'pins',
  'repositories',
  'totals',
]);

/** Places that are searched for the coldest image without a pin. */
const MAX_PLACES_SEEN = 100;

export interface SpaceOptions extends Pick<SweepOptions, 'dataDir' | 'tables' | 'leases' | 'now' | 'takeIn'> {
  readonly limit: SizeLimit;
  /** Whether evicted images can be downloaded again. */
  readonly canRefill: () => boolean;
  readonly tell: Tell<'strayFileRemoved' | 'indexRebuilt' | 'indexFailed' | 'diskFull'>;
}

/** Called for the stores before the index, which cache its entries. */
export interface SpaceListener {
  readonly onRemoved: (removed: Removed, reason: RemovalReason) => void;
  /** Called for a manifest that was served although the index lacks it. */
  readonly onUnknownManifest: (digest: Digest) => Promise<void>;
}

/** The room on the disk: its limit, its users, and the eviction. */
export interface Space {
  readonly room: Room;
  readonly leases: BlobLeases;
  readonly usage: UsageBuffer;
  readonly remover: Remover;
  readonly pinned: PinnedBytes;
  readonly limitBytes: number;
  /** The file system is full, or too full for the last reservation. */
  readonly isCramped: boolean;
  /** The index was lost, and not all blobs have an entry again. */
  readonly isRebuilding: boolean;
  /** Must be called before the first pull or removal. */
  listen(listener: SpaceListener): void;
  figures(): RoomFigures;
  /** Whether the index may grow by an entry of `bytes`. */
  mayGrow(bytes: number): boolean;
  /** Time since the last pull of the image that would be evicted first; undefined: there is none. */
  coldestAgeMs(): number | undefined;
  /** Resolves when no eviction runs. */
  idle(): Promise<void>;
  /** Starts eviction and sweep in the background. */
  start(): Promise<void>;
  close(): Promise<void>;
}

/** Only for the owner of the data directory, after `upgradeIndex`. */
export async function openSpace(options: SpaceOptions): Promise<Space> {
  const { dataDir, tables, limit, canRefill, now, leases, tell } = options;
  const storedBytes = (): number => tables.totals.of('blobs').bytes + tables.environment.fileBytes();
  // If the index was lost, the blob files still count, because the sweep enters them again.
  const lostBytes = tables.totals.of('blobs').count === 0 ? await blobFileBytes(dataDir) : 0;
  const limitBytes = await measureLimit(dataDir, limit, storedBytes() + lostBytes);
  const { blocks, bsize } = await statfs(dataDir);
  let listener: SpaceListener | undefined;
  const usage = new UsageBuffer({
    tables,
    now,
    onUnknown: async (digest) => listener?.onUnknownManifest(digest),
    tell,
  });
  const pinned = new PinnedBytes(tables);
  const remover = new Remover({
    dataDir,
    tables,
    leases,
    onRemoved: (removed, reason) => listener?.onRemoved(removed, reason),
  });
  const protection = new Protection({ tables, leases, notes: usage, now });
  const evictor = new Evictor({ tables, leases, notes: usage, protection, remover, tell });
  const room = new DiskRoom({
    limitBytes,
    indexMarginBytes: Math.min(MAX_INDEX_MARGIN_BYTES, Math.floor(limitBytes * INDEX_MARGIN_SHARE)),
    keptBytes: () => storedBytes() + remover.pendingBytes,
    fixedBytes: () => tables.environment.fileBytes() + pinned.storedBytes,
    indexedBytes: () => tables.environment.usedBytes(KEPT_TABLES),
    indexRoomBytes: () => tables.environment.fileBytes() - tables.environment.usedBytes(),
    disk: {
      free: () => freeBytes(dataDir),
      allocatedPartBytes: () => allocatedPartBytes(dataDir),
      marginBytes: Math.min(MAX_MARGIN_BYTES, blocks * bsize * MARGIN_SHARE),
    },
    evict: (reason, wanted) => evictor.free(reason, wanted),
    canRefill,
    tell,
  });
  tables.environment.onWritten(() => room.entered());
  let isRebuilding = lostBytes > 0;
  const onSwept = (): void => {
    if (isRebuilding) tell('indexRebuilt', {});
    isRebuilding = false;
  };
  const sweep = new Sweep({ ...options, onSwept });
  return {
    room,
    leases,
    usage,
    remover,
    pinned,
    limitBytes,
    get isCramped() {
      return room.isCramped;
    },
    get isRebuilding() {
      return isRebuilding;
    },
    listen: (given) => {
      listener = given;
    },
    figures: () => room.figures(),
    mayGrow: (bytes) => room.mayGrow(bytes),
    coldestAgeMs: () => {
      const coldest = tables.usage.coldest(MAX_PLACES_SEEN).find(([, unit, digest]) => {
        return unit === 'manifest' && !isPinned(tables, digest);
      });
      return coldest === undefined ? undefined : Math.max(0, now() - coldest[0]);
    },
    idle: () => evictor.idle(),
    start: async () => {
      await pinned.start();
      sweep.start();
      await room.measure();
      room.relax();
    },
    close: async () => {
      room.close();
      pinned.close();
      await sweep.close();
      await evictor.close();
      await usage.close();
    },
  };
}
