import { describe, expect, it } from 'vitest';
import { deferred, type Deferred } from '../../src/lib/promises.ts';
import type { Extent } from '../../src/lib/extents.ts';
import { PartWriter } from '../../src/download/part-writer.ts';

const MIB = 1024 * 1024;

/** A part whose writes end when they are told to. */
function slowPart() {
  const writes: { readonly start: number; readonly text: string; readonly done: Deferred<void> }[] = [];
  const written: Extent[] = [];
  const part = {
    write: (chunks: readonly Buffer[], start: number) => {
      const done = deferred<void>();
      writes.push({ start, text: Buffer.concat(chunks).toString(), done });
      return done.promise;
    },
  };
  const writer = new PartWriter(part, 100, { onWritten: (extent) => written.push(extent) });
  const next = async (index: number) => {
    for (;;) {
      const write = writes[index];
      if (write !== undefined) return write;
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  return { writer, writes, written, next };
}

describe('a stream that is written to a part', () => {
  it('is written at once where it begins, and then in few pieces', async () => {
    const { writer, writes, written, next } = slowPart();
    await writer.push(Buffer.from('first'));
    expect(writes.map(({ start, text }) => `${start} ${text}`)).toEqual(['100 first']);
    for (let byte = 0; byte < 100; byte++) await writer.push(Buffer.from('.'));
    writes[0]?.done.resolve();
    const second = await next(1);
    expect(`${second.start} ${second.text}`).toBe(`105 ${'.'.repeat(100)}`);
    expect(written).toEqual([{ start: 100, end: 105 }]);
    second.done.resolve();
    await writer.flush();
    expect(written).toEqual([
      { start: 100, end: 105 },
      { start: 105, end: 205 },
    ]);
    expect(writes).toHaveLength(2);
  });

  it('waits for the disk when much of it has come', async () => {
    const { writer, writes, next } = slowPart();
    await writer.push(Buffer.alloc(MIB));
    await writer.push(Buffer.alloc(MIB));
    let hasGoneOn = false;
    const pushing = writer.push(Buffer.alloc(MIB)).then(() => {
      hasGoneOn = true;
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(hasGoneOn).toBe(false);
    writes[0]?.done.resolve();
    await pushing;
    (await next(1)).done.resolve();
    await writer.flush();
    expect(writes.map(({ text }) => text.length)).toEqual([MIB, 2 * MIB]);
  });

  it('waits for the disk earlier when there are many others, so that all together take little memory', async () => {
    const piece = Buffer.alloc(64 * 1024);
    const many = Array.from({ length: 64 }, () => slowPart());
    const pushed = many.map(() => 0);
    const pushing = many.map(async ({ writer }, index) => {
      for (let bytes = 0; bytes < 4 * MIB; bytes += piece.length) {
        pushed[index] = bytes + piece.length;
        await writer.push(piece);
      }
    });
    await new Promise((resolve) => setImmediate(resolve));
    const takenBytes = pushed.reduce((sum, bytes) => sum + bytes, 0);
    for (const { writes } of many) writes[0]?.done.reject(new Error('EIO'));
    await Promise.allSettled(pushing);
    await Promise.allSettled(many.map(({ writer }) => writer.flush()));
    // One piece is under way for each, which came first, and so much waits.
    expect(takenBytes).toBe(64 * piece.length + 16 * MIB);
    const { writer, writes } = slowPart();
    for (let bytes = 0; bytes < 2 * MIB; bytes += piece.length) await writer.push(piece);
    expect(writes).toHaveLength(1);
    writes[0]?.done.reject(new Error('EIO'));
    await expect(writer.flush()).rejects.toThrow('EIO');
  });

  it('tells whoever pushes, or waits for its end, what the disk said, and writes nothing more', async () => {
    const { writer, writes } = slowPart();
    await writer.push(Buffer.from('a'));
    await writer.push(Buffer.from('b'));
    writes[0]?.done.reject(new Error('ENOSPC'));
    await expect(writer.flush()).rejects.toThrow('ENOSPC');
    await expect(writer.push(Buffer.from('c'))).rejects.toThrow('ENOSPC');
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect(writes).toHaveLength(1);
  });
});
