import { describe, expect, it } from 'vitest';
import { fairTurn, TurnEnd } from '../../src/lib/turns.ts';

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

describe('the end of a turn', () => {
  it('has all items of the turn, in order, and those that come meanwhile are of the next', async () => {
    const handled: string[] = [];
    const end = new TurnEnd<string>((item) => {
      handled.push(item);
      if (item === 'a') end.add('of the next turn');
    });
    end.add('a');
    end.add('b');
    expect(handled).toEqual([]);
    await new Promise((resolve) => setImmediate(resolve));
    expect(handled).toEqual(['a', 'b']);
    await new Promise((resolve) => setImmediate(resolve));
    expect(handled).toEqual(['a', 'b', 'of the next turn']);
  });
});
