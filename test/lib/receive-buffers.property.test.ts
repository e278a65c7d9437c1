import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { append, hold, RECEIVE_BUFFER_BYTES, release, takeBuffer } from '../../src/lib/receive-buffers.ts';

describe('a receive buffer', () => {
  test('is used again when its last holder has released it', () => {
    const buffer = takeBuffer();
    const piece = buffer.subarray(10, 20);
    hold(piece);
    release(buffer);
    const second = takeBuffer();
    expect(second.buffer).not.toBe(buffer.buffer);
    release(piece);
    const third = takeBuffer();
    expect(third.buffer).toBe(buffer.buffer);
    expect(third.length).toBe(RECEIVE_BUFFER_BYTES);
    release(second);
    release(third);
  });

  test('is no other buffer, whatever is released', () => {
    const other = Buffer.alloc(RECEIVE_BUFFER_BYTES);
    hold(other);
    release(other);
    release(other);
    const buffer = takeBuffer();
    expect(buffer.buffer).not.toBe(other.buffer);
    release(buffer);
  });

  test('that was released too often has still one taker at a time', () => {
    const buffer = takeBuffer();
    release(buffer);
    release(buffer);
    const taken = [takeBuffer(), takeBuffer()];
    expect(taken[0]?.buffer).not.toBe(taken[1]?.buffer);
    taken.forEach(release);
  });

  test('is not changed while a piece of it is held', () => {
    const step = fc.record({ take: fc.boolean(), which: fc.nat(), length: fc.integer({ min: 1, max: 500 }) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
        const held: { readonly piece: Buffer; readonly mark: number }[] = [];
        let mark = 0;
        for (const { take, which, length } of steps) {
          if (take) {
            const buffer = takeBuffer();
            for (const start of [0, length]) {
              const piece = buffer.subarray(start, start + length).fill(++mark);
              hold(piece);
              held.push({ piece, mark: mark % 256 });
            }
            release(buffer);
          } else {
            const [gone] = held.splice(which % Math.max(1, held.length), 1);
            if (gone !== undefined) release(gone.piece);
          }
          for (const { piece, mark: byte } of held) expect(piece.every((value) => value === byte)).toBe(true);
        }
        for (const { piece } of held) release(piece);
      }),
    );
  });
});

describe('pieces', () => {
  test('that follow each other in a buffer become one, with one holder', () => {
    const buffer = takeBuffer();
    const pieces: Buffer[] = [];
    for (const [start, end] of [
      [0, 5],
      [5, 9],
      [20, 30],
      [30, 31],
    ]) {
      const piece = buffer.subarray(start, end);
      hold(piece);
      append(pieces, piece);
    }
    append(pieces, Buffer.alloc(3));
    expect(pieces.map(({ length }) => length)).toEqual([9, 11, 3]);
    release(buffer);
    pieces.forEach(release);
    const again = takeBuffer();
    expect(again.buffer).toBe(buffer.buffer);
    release(again);
  });

  test('of other memory stay apart', () => {
    const memory = new ArrayBuffer(10);
    const pieces = [Buffer.from(memory, 0, 5)];
    append(pieces, Buffer.from(new ArrayBuffer(10), 5, 5));
    expect(pieces.length).toBe(2);
  });
});
