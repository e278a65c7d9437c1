import { statfs } from 'node:fs/promises';
import { BlobStoreError } from '../blob-store.ts';
import type { Reservation, Room } from './room.ts';

/** How much of the disk blobs and growing parts may take together. */
export type SizeLimit = { readonly bytes: number } | { readonly percent: number };

export interface LimitedRoomOptions {
  readonly dataDir: string;
  readonly limit: SizeLimit;
  readonly storedBytes: () => number;
}

export function createLimitedRoom(options: LimitedRoomOptions): Room {
  let reserved = 0;
  const check = async (more: number): Promise<void> => {
    const stored = options.storedBytes();
    const { bavail, bsize } = await statfs(options.dataDir);
    const { limit } = options;
    const maxBytes = 'bytes' in limit ? limit.bytes : ((stored + bavail * bsize) * limit.percent) / 100;
    if (stored + reserved + more > maxBytes) {
      throw new BlobStoreError('no-space', `the cache is full: its limit is ${Math.floor(maxBytes)} bytes`);
    }
  };
  const reserve = async (bytes: number): Promise<Reservation> => {
    await check(bytes);
    let held = bytes;
    reserved += held;
    return {
      resize: async (next) => {
        if (next > held) await check(next - held);
        reserved += next - held;
        held = next;
      },
      release: () => {
        reserved -= held;
        held = 0;
      },
    };
  };
  return { reserve };
}
