import { mkdir, open, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { DiskRoom, type DiskRoomOptions, type EvictionReason } from '../../../src/store/space/room.ts';
import { measureLimit } from '../../../src/store/space/space.ts';
import { testFolder } from '../../support/temp.ts';
import { tellNobody, tellTo } from '../../support/told.ts';

const MIB = 1024 * 1024;

/** Room whose figures are what the test says; blobs can be evicted down to `fixed`. */
function room(options: Partial<DiskRoomOptions> = {}) {
  const state = {
    kept: 0,
    fixed: 0,
    free: Number.MAX_SAFE_INTEGER,
    allocated: 0,
    evicted: [] as EvictionReason[],
  };
  const made = new DiskRoom({
    limitBytes: 1000,
    indexMarginBytes: 0,
    keptBytes: () => state.kept,
    fixedBytes: () => state.fixed,
    indexedBytes: () => 0,
    indexRoomBytes: () => 0,
    disk: {
      free: () => Promise.resolve(state.free),
      allocatedPartBytes: () => Promise.resolve(state.allocated),
      marginBytes: 10,
    },
    evict: async (reason, wanted) => {
      for (let bytes = await wanted(); bytes > 0; bytes = await wanted()) {
        if (state.kept <= state.fixed) return false;
        state.evicted.push(reason);
        const gone = Math.min(bytes, state.kept - state.fixed);
        state.kept -= gone;
        state.free += gone;
      }
      return true;
    },
    canRefill: () => true,
    tell: tellNobody,
    ...options,
  });
  onTestFinished(() => made.close());
  return { state, room: made };
}

describe('room on the disk', () => {
  it('holds blobs, the index and what is reserved together under the limit', async () => {
    const { state, room: made } = room();
    state.kept = state.fixed = 600;
    const first = await made.reserve(300);
    await expect(made.reserve(101)).rejects.toMatchObject({ name: 'BlobStoreError', code: 'no-space' });
    const second = await made.reserve(100);
    expect(made.figures()).toEqual({ usedBytes: 1000, reservedBytes: 400, limitBytes: 1000 });
    first.release();
    first.release();
    second.release();
    expect(made.figures().reservedBytes).toBe(0);
  });

  it('leaves the index what it may grow by, however much is asked for', async () => {
    const { state, room: made } = room({ indexMarginBytes: 50 });
    state.kept = state.fixed = 600;
    await expect(made.reserve(351)).rejects.toMatchObject({ code: 'no-space' });
    const held = await made.reserve(350);
    await expect(held.resize(351)).rejects.toMatchObject({ code: 'no-space' });
    state.kept = state.fixed = 650;
    expect(made.figures()).toEqual({ usedBytes: 1000, reservedBytes: 350, limitBytes: 1000 });
  });

  it('lets the index grow up to the limit and no further, unless nothing is left that could go', () => {
    const { state, room: made } = room({ indexMarginBytes: 50 });
    state.kept = 955;
    state.fixed = 100;
    expect([made.mayGrow(10), made.mayGrow(11)]).toEqual([true, false]);
    state.kept = 1000;
    expect(made.mayGrow(0)).toBe(false);
    state.fixed = 1000;
    expect(made.mayGrow(10)).toBe(true);
  });

  it('lets be entered what finds room inside the file of the index, whose size is over the limit', () => {
    const roomBytes = { value: 70 };
    const { state, room: made } = room({ indexMarginBytes: 50, indexRoomBytes: () => roomBytes.value });
    state.kept = 1100;
    state.fixed = 1090;
    expect([made.mayGrow(22), made.mayGrow(23)]).toEqual([true, false]);
    roomBytes.value = 0;
    expect(made.mayGrow(0)).toBe(false);
  });

  it('has blobs evicted for the index that grew, while upstream could give nothing back too', async () => {
    const { state, room: made } = room({ indexMarginBytes: 50, canRefill: () => false });
    state.kept = 950;
    made.relax();
    expect(state.evicted).toEqual([]);
    state.kept = 951;
    made.relax();
    await expect.poll(() => state.kept).toBe(950);
    state.kept = 1100;
    (await made.reserve(0)).release();
    expect(state.kept).toBe(950);
  });

  it('evicts nothing any more once it is closed', async () => {
    const { state, room: made } = room();
    state.kept = 1000;
    made.close();
    made.relax();
    expect(state.evicted).toEqual([]);
  });

  it('survives an eviction that fails in the background, and tries again later', async () => {
    const evict = vi.fn<DiskRoomOptions['evict']>(() => Promise.reject(new Error('the index is closed')));
    const { state, room: made } = room({ evict });
    state.kept = 1000;
    made.relax();
    await expect.poll(() => evict.mock.calls.length).toBe(1);
    made.relax();
    expect(evict).toHaveBeenCalledTimes(1);
  });

  it('lets a reservation grow and shrink, and keeps what was held when it cannot grow', async () => {
    const { state, room: made } = room();
    state.kept = state.fixed = 500;
    const held = await made.reserve(0);
    await held.resize(400);
    await expect(held.resize(501)).rejects.toMatchObject({ code: 'no-space' });
    expect(made.figures().reservedBytes).toBe(400);
    await held.resize(100);
    expect(made.figures().reservedBytes).toBe(100);
    held.release();
    await held.resize(900);
    expect(made.figures().reservedBytes).toBe(0);
  });

  it('gives back what a reservation got that was released while it waited to grow', async () => {
    const { room: made } = room();
    const held = await made.reserve(100);
    const growing = held.resize(500);
    held.release();
    await growing;
    expect(made.figures().reservedBytes).toBe(0);
  });

  it('never gives the same room to two who ask at once', async () => {
    const { room: made } = room();
    const asked = await Promise.allSettled([400, 400, 400].map((bytes) => made.reserve(bytes)));
    expect(asked.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected']);
  });

  it('has what is needed evicted first', async () => {
    const { state, room: made } = room();
    state.kept = 900;
    await made.reserve(300);
    expect(state.evicted[0]).toBe('room');
    expect(made.figures().usedBytes).toBeLessThanOrEqual(1000);
  });

  it('never promises more than the file system has free, less a margin', async () => {
    const { state, room: made } = room();
    state.free = 200;
    await expect(made.reserve(191)).rejects.toMatchObject({ code: 'no-space' });
    expect(made.isCramped).toBe(true);
    const held = await made.reserve(190);
    expect(made.isCramped).toBe(false);
    await expect(made.reserve(1)).rejects.toMatchObject({ code: 'no-space' });
    held.release();
  });

  it('is cramped on a full disk before anything is asked for, and tells once when that changes', async () => {
    const told: boolean[] = [];
    const { state, room: made } = room({
      tell: tellTo({ diskFull: ({ isFull }) => void told.push(isFull) }),
    });
    state.free = 9;
    await made.measure();
    await made.measure();
    expect(made.isCramped).toBe(true);
    state.free = 10;
    await made.measure();
    expect(made.isCramped).toBe(false);
    expect(told).toEqual([true, false]);
  });

  it('is not cramped on a disk that is full of what could be evicted', async () => {
    const { state, room: made } = room();
    state.free = 0;
    state.kept = 900;
    state.fixed = 880;
    await made.measure();
    expect(made.isCramped).toBe(false);
    state.fixed = 895;
    await made.measure();
    expect(made.isCramped).toBe(true);
  });

  it('is cramped, and not just small, if the disk left it a limit of nothing', async () => {
    const { state, room: made } = room({ limitBytes: 0 });
    state.free = 100;
    await expect(made.reserve(95)).rejects.toMatchObject({ code: 'no-space' });
    expect(made.isCramped).toBe(true);
  });

  it('counts on what parts have been promised and have not taken yet, and only on that', async () => {
    const { state, room: made } = room();
    state.free = 410;
    await made.reserve(300);
    // It has written 250 of its bytes, so 160 are left, 50 of which are promised and 10 the margin.
    state.free = 160;
    state.allocated = 250;
    await expect(made.reserve(101)).rejects.toMatchObject({ code: 'no-space' });
    await made.reserve(100);
  });

  it('has blobs evicted when others fill the file system', async () => {
    const { state, room: made } = room();
    state.kept = 500;
    state.free = 50;
    await made.reserve(100);
    expect(state.evicted).toEqual(['room']);
    expect(state.kept).toBe(440);
  });

  it('does not evict all that pins have left whenever that is nearly used up', async () => {
    const { state, room: made } = room({ indexMarginBytes: 10 });
    state.fixed = 910;
    state.kept = 970;
    made.relax();
    expect(state.evicted).toEqual([]);
    state.kept = 971;
    made.relax();
    await expect.poll(() => state.kept).toBe(950);
  });

  it('lets manifests, tags and links have a tenth of a large limit', async () => {
    const { state, room: made } = room({
      limitBytes: 1000 * MIB,
      fixedBytes: () => state.kept,
      indexedBytes: () => state.kept,
    });
    state.kept = 95 * MIB;
    (await made.reserve(0)).release();
    expect(state.evicted).toEqual([]);
    state.kept = 96 * MIB;
    (await made.reserve(0)).release();
    await expect.poll(() => state.kept).toBe(90 * MIB);
  });
});

describe('a limit that is a share', () => {
  it('is of what is free and what is ours already, parts included', async () => {
    const dataDir = await testFolder();
    await mkdir(join(dataDir, 'parts'));
    const part = await open(join(dataDir, 'parts', 'part'), 'w');
    await part.write(Buffer.alloc(8 * MIB, 1), 0, 8 * MIB, 64 * MIB);
    await part.sync();
    await part.close();
    const { bavail, bsize } = await statfs(dataDir);
    const limit = await measureLimit(dataDir, { percent: 50 }, 1000 * MIB);
    const expected = (1008 * MIB + bavail * bsize) / 2;
    // Others use the same disk meanwhile.
    expect(Math.abs(limit - expected)).toBeLessThan(256 * MIB);
    expect(await measureLimit(dataDir, { bytes: 77 }, 5)).toBe(77);
  });
});
