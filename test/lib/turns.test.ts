import { describe, expect, it } from 'vitest';
import { fairTurn } from '../../src/lib/turns.ts';

describe('bulk work', () => {
  it('goes on one piece per turn of the event loop, in the order in which they were asked for', async () => {
    const done: number[] = [];
    const perTurn: number[] = [];
    const pieces = Array.from({ length: 20 }, (_, index) => fairTurn().then(() => done.push(index)));
    expect(done).toEqual([]);
    while (done.length < pieces.length) {
      const before = done.length;
      await new Promise((resolve) => setImmediate(resolve));
      perTurn.push(done.length - before);
    }
    expect(done).toEqual(Array.from({ length: 20 }, (_, index) => index));
    expect(perTurn).toEqual(pieces.map(() => 1));
  });
});
