import { onTestFinished } from 'vitest';
import type { BlobIndex } from '../../src/store/blobs.ts';
import { DiskRoom } from '../../src/store/space/room.ts';
import { tellNobody } from './told.ts';

/** Room for `maxBytes` on a disk without end, where nothing is ever evicted; until the running test ends. */
export function roomOf({ maxBytes, index }: { maxBytes: number; index: BlobIndex }): DiskRoom {
  const room = new DiskRoom({
    limitBytes: maxBytes,
    indexMarginBytes: 0,
    keptBytes: () => index.blobTotals().bytes,
    fixedBytes: () => 0,
    indexedBytes: () => 0,
    indexRoomBytes: () => 0,
    disk: {
      free: () => Promise.resolve(Number.MAX_SAFE_INTEGER),
      allocatedPartBytes: () => Promise.resolve(0),
      marginBytes: 0,
    },
    evict: async (_reason, wanted) => (await wanted()) <= 0,
    canRefill: () => true,
    tell: tellNobody,
  });
  onTestFinished(() => room.close());
  return room;
}
