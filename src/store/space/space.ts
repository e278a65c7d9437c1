import { readdir, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import type { Tell } from '../../events/events.ts';
import type { Digest } from '../../oci/digest.ts';
import type { BlobLeases } from '../blob/leases.ts';
import { isPinned } from '../index/closure.ts';
import type { Removed } from '../index/removal.ts';
import type { IndexTables } from '../index/tables.ts';
import type { Room } from '../part/health.ts';
import { partsDirectory } from '../part/layout.ts';
import { Evictor } from './evictor.ts';
import { PinnedBytes, Protection } from './protection.ts';
import { Remover, type RemovalReason } from './remover.ts';
import { DiskRoom, type RoomFigures } from './room.ts';
import { Sweep, type SweepOptions } from './sweep.ts';
import { UsageBuffer } from './usage.ts';

/** The unit of `st_blocks` (stat(2)). */
const BLOCK_BYTES = 512;

/** The hard limit on what is kept, as it is set. */
export type SizeLimit = { readonly bytes: number } | { readonly percent: number };

/**
 * The limit in bytes. A share is of what the file system could give: what is free now and what is ours already
 * (`storedBytes` and the parts). Measured once, so that neither our growth nor that of others moves it.
 */
export async function measureLimit(dataDir: string, limit: SizeLimit, storedBytes: number): Promise<number> {
  if ('bytes' in limit) return limit.bytes;
  const own = storedBytes + (await allocatedPartBytes(dataDir));
  return Math.floor(((own + (await freeBytes(dataDir))) * limit.percent) / 100);
}

/** What all files of blobs take, whoever knows of them: for where no index tells. */
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

/** What the file system has left for us. */
export async function freeBytes(dataDir: string): Promise<number> {
  const { bavail, bsize } = await statfs(dataDir);
  return bavail * bsize;
}

/** What growing and kept parts take on the disk: they are sparse, so less than their sizes. */
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

/** To be left free on the file system: twice what the index wants for itself, so that it can go on when parts cannot. */
const MAX_MARGIN_BYTES = 32 * 1024 * 1024;
const MARGIN_SHARE = 0.04;
/**
 * Of the limit, what is kept free for the index: it grows with every manifest, tag and link, none of which reserves
 * room. A transaction of the largest manifest takes some 5 MiB, and what it takes is given back by eviction at once.
 */
const MAX_INDEX_MARGIN_BYTES = 16 * 1024 * 1024;
const INDEX_MARGIN_SHARE = 0.01;
/** What no eviction takes anything from: bounded by itself, or told by users. */
const KEPT_TABLES: ReadonlySet<string> = new Set([
  'bookmarks',
  'history',
  'meta',
  'pins',
  'repositories',
  'totals',
]);

/** How far the coldest image that is not pinned is looked for. */
const MAX_PLACES_SEEN = 100;

export interface SpaceOptions {
  readonly dataDir: string;
  readonly tables: IndexTables;
  readonly limit: SizeLimit;
  /** Whether upstream could give back what is evicted. */
  readonly canRefill: () => boolean;
  readonly now: () => number;
  /** Told of every blob that is open or being filled. */
  readonly leases: BlobLeases;
  /** Looks at a file that the index does not know, and enters it if it is what its name says. */
  readonly takeIn: SweepOptions['takeIn'];
  readonly tell: Tell<'strayFileRemoved' | 'indexRebuilt' | 'indexFailed' | 'diskFull'>;
}

/** What concerns the stores before the index. */
export interface SpaceListener {
  readonly onRemoved: (removed: Removed, reason: RemovalReason) => void;
  /** Told of manifests that were served although the index lacks them. */
  readonly onUnknownManifest: (digest: Digest) => Promise<void>;
}

/** What decides over the room on the disk: the limit, who holds what of it, and what goes when it is used up. */
export interface Space {
  readonly room: Room;
  readonly leases: BlobLeases;
  readonly usage: UsageBuffer;
  readonly remover: Remover;
  readonly pinned: PinnedBytes;
  readonly limitBytes: number;
  /** The file system itself is full, or too full for what was last asked for. */
  readonly isCramped: boolean;
  /** The index was lost, and not all blobs have been taken in again. */
  readonly isRebuilding: boolean;
  /** To be called before anything is served or removed. */
  listen(listener: SpaceListener): void;
  figures(): RoomFigures;
  /** Whether the index may grow by a content of so many bytes without passing the limit. */
  mayGrow(bytes: number): boolean;
  /** How long ago the image was pulled that would go first; undefined: there is none. */
  coldestAgeMs(): number | undefined;
  /** Resolves when nothing is being evicted. */
  idle(): Promise<void>;
  /** Begins to evict and to sweep in the background. */
  start(): Promise<void>;
  close(): Promise<void>;
}

/** For the owner of the data directory; the index has been upgraded. */
export async function openSpace(options: SpaceOptions): Promise<Space> {
  const { dataDir, tables, limit, canRefill, now, leases, tell } = options;
  const storedBytes = (): number => tables.totals.of('blobs').bytes + tables.environment.fileBytes();
  // Where the index was lost its blobs are ours all the same, and will be taken in.
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
