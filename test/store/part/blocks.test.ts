import { describe, expect, it } from 'vitest';
import { deferred } from '../../../src/lib/promises.ts';
import { BLOCK_BYTES, SharedBlocks, type Read } from '../../../src/store/part/blocks.ts';

/** A file, and where and in what lengths it was read. */
function fileOf(size: number, seed = 0) {
  const content = Buffer.alloc(size);
  for (let at = 0; at < size; at += 4) content.writeUInt32LE((at + seed) >>> 0, at);
  const reads: number[] = [];
  const lengths: number[] = [];
  const read: Read = async (buffer, length, position) => {
    reads.push(position);
    lengths.push(length);
    await new Promise((resolve) => setImmediate(resolve));
    return content.subarray(position, position + length).copy(buffer);
  };
  return { content, reads, lengths, read };
}

async function readAll(read: Read, { pieceBytes, from = 0 }: { pieceBytes: number; from?: number }) {
  const chunks: Buffer[] = [];
  for (let at = from; ;) {
    const buffer = Buffer.alloc(pieceBytes);
    const count = await read(buffer, pieceBytes, at);
    if (count === 0) return Buffer.concat(chunks);
    chunks.push(buffer.subarray(0, count));
    at += count;
  }
}

describe('a file that several read at a time', () => {
  it('is read once, whatever pieces they read it in', async () => {
    const { content, reads, read } = fileOf(4 * BLOCK_BYTES);
    const shared = new SharedBlocks().share(read);
    const readers = [BLOCK_BYTES, 64 * 1024, 100_000].map((pieceBytes) => readAll(shared, { pieceBytes }));
    for (const bytes of await Promise.all(readers)) expect(bytes.equals(content)).toBe(true);
    // Its end is looked for by a block of its own.
    expect(reads).toEqual([0, 1, 2, 3, 4].map((index) => index * BLOCK_BYTES));
  });

  it('ends where it ends, and can be begun anywhere', async () => {
    const { content, read } = fileOf(BLOCK_BYTES + 1000);
    const shared = new SharedBlocks().share(read);
    const bytes = await readAll(shared, { pieceBytes: 64 * 1024, from: BLOCK_BYTES - 10 });
    expect(bytes.equals(content.subarray(BLOCK_BYTES - 10))).toBe(true);
    expect(await shared(Buffer.alloc(10), 10, 3 * BLOCK_BYTES)).toBe(0);
  });

  it('is never taken for another one, though there is room for few blocks', async () => {
    const blocks = new SharedBlocks();
    const files = [1, 2, 3].map((seed) => fileOf(40 * BLOCK_BYTES, seed * 1_000_000_007));
    const readers = files.flatMap(({ content, read }) => {
      const shared = blocks.share(read);
      return [0, 17 * BLOCK_BYTES + 5].map(async (from) => {
        const bytes = await readAll(shared, { pieceBytes: 64 * 1024, from });
        return bytes.equals(content.subarray(from));
      });
    });
    expect(await Promise.all(readers)).toEqual(readers.map(() => true));
  });

  it('is read anew after a read that failed', async () => {
    const { content, read } = fileOf(BLOCK_BYTES);
    let isBroken = true;
    const shared = new SharedBlocks().share(async (...where) => {
      if (isBroken) throw new Error('EIO');
      return read(...where);
    });
    const readers = [0, 500].map((at) => shared(Buffer.alloc(100_000), 100_000, at));
    for (const reader of readers) await expect(reader).rejects.toThrow('EIO');
    isBroken = false;
    const bytes = await readAll(shared, { pieceBytes: 100_000 });
    expect(bytes.equals(content)).toBe(true);
  });

  it('is read by small ranges in no more than these, unless more of it is there already', async () => {
    const { content, lengths, read } = fileOf(2 * BLOCK_BYTES);
    const shared = new SharedBlocks().share(read);
    const ranges = [0, BLOCK_BYTES - 500].map(async (at) => {
      const buffer = Buffer.alloc(1000);
      const count = await shared(buffer, buffer.length, at);
      return buffer.subarray(0, count).equals(content.subarray(at, at + count)) && count > 0;
    });
    expect(await Promise.all(ranges)).toEqual([true, true]);
    expect(lengths).toEqual([1000, 1000]);
    await shared(Buffer.alloc(100_000), 100_000, 0);
    await shared(Buffer.alloc(1000), 1000, 5000);
    expect(lengths).toEqual([1000, 1000, BLOCK_BYTES]);
  });

  it('costs nobody a byte that can be read, although others nearby cannot', async () => {
    const { content, read } = fileOf(BLOCK_BYTES);
    const shared = new SharedBlocks().share(async (buffer, length, position) => {
      if (position + length > 200_000) throw new Error('EIO');
      return read(buffer, length, position);
    });
    const readers = [0, 100_000, 150_000].map(async (at) => {
      const buffer = Buffer.alloc(100_000);
      const count = await shared(buffer, buffer.length, at);
      return buffer.subarray(0, count).equals(content.subarray(at, at + buffer.length));
    });
    const isRight = await Promise.allSettled(readers);
    expect(isRight.map((each) => (each.status === 'fulfilled' ? each.value : 'EIO'))).toEqual([
      true,
      true,
      'EIO',
    ]);
  });

  it('keeps what somebody still waits for, whatever else is read meanwhile', async () => {
    const blocks = new SharedBlocks();
    const slow = deferred<void>();
    const late = fileOf(BLOCK_BYTES, 7);
    const waiting = blocks.share(async (...where) => {
      await slow.promise;
      return late.read(...where);
    });
    const buffer = Buffer.alloc(BLOCK_BYTES);
    const reading = waiting(buffer, BLOCK_BYTES, 0);
    await readAll(blocks.share(fileOf(200 * BLOCK_BYTES).read), { pieceBytes: BLOCK_BYTES });
    slow.resolve();
    expect(await reading).toBe(BLOCK_BYTES);
    expect(buffer.equals(late.content)).toBe(true);
  });
});
