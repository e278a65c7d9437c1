import { statfs } from 'node:fs/promises';
import type { Digest } from '../../oci/digest.ts';
import type { BlobHolds } from '../blob/holds.ts';
import type { Room } from '../blob/room.ts';
import { isPinned } from '../index/pinned.ts';
import type { Removed } from '../index/removal.ts';
import type { IndexTables } from '../index/tables.ts';
import { DiskRoom, type DiskRoomOptions, type RoomFigures } from './disk-room.ts';
import { Evictor } from './evictor.ts';
import { allocatedPartBytes, blobFileBytes, freeBytes, measureLimit, type SizeLimit } from './limit.ts';
import { PinnedBytes } from './pinned-bytes.ts';
import { Protection } from './protection.ts';
import { Remover, type RemovalReason } from './remover.ts';
import { Sweep, type SweepOptions } from './sweep.ts';
import { UsageNotes } from './usage-notes.ts';

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
  readonly holds: BlobHolds;
  /** Looks at a file that the index does not know, and enters it if it is what its name says. */
  readonly takeIn: SweepOptions['takeIn'];
  /** Told of a file that no index knew and that is gone now. */
  readonly onRemovedFile: (digest: Digest) => void;
  /** Told when all files of an index that was lost have been looked at. */
  readonly onRebuilt: () => void;
  readonly onError: (error: unknown) => void;
  readonly onCramped?: DiskRoomOptions['onCramped'];
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
  readonly holds: BlobHolds;
  readonly usage: UsageNotes;
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
  const { dataDir, tables, limit, canRefill, now, holds, onRebuilt, onError } = options;
  const storedBytes = (): number => tables.totals.of('blobs').bytes + tables.environment.fileBytes();
  // Where the index was lost its blobs are ours all the same, and will be taken in.
  const lostBytes = tables.totals.of('blobs').count === 0 ? await blobFileBytes(dataDir) : 0;
  const limitBytes = await measureLimit(dataDir, limit, storedBytes() + lostBytes);
  const { blocks, bsize } = await statfs(dataDir);
  let listener: SpaceListener | undefined;
  const usage = new UsageNotes({
    tables,
    now,
    onUnknown: async (digest) => listener?.onUnknownManifest(digest),
    onError,
  });
  const pinned = new PinnedBytes(tables);
  const remover = new Remover({
    dataDir,
    tables,
    holds,
    onRemoved: (removed, reason) => listener?.onRemoved(removed, reason),
  });
  const protection = new Protection({ tables, holds, notes: usage, now });
  const evictor = new Evictor({ tables, holds, notes: usage, protection, remover, onError });
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
    ...(options.onCramped === undefined ? {} : { onCramped: options.onCramped }),
  });
  tables.environment.onWritten(() => room.entered());
  let isRebuilding = lostBytes > 0;
  const onSwept = (): void => {
    if (isRebuilding) onRebuilt();
    isRebuilding = false;
  };
  const sweep = new Sweep({ ...options, onSwept });
  return {
    room,
    holds,
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
