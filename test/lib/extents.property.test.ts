import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Extents } from '../../src/lib/extents.ts';

const SIZE = 60;
const added = fc.array(
  fc.tuple(fc.integer({ min: 0, max: SIZE }), fc.integer({ min: 0, max: SIZE })).map(([one, other]) => ({
    start: Math.min(one, other),
    end: Math.max(one, other),
  })),
  { maxLength: 12 },
);

/** Which bytes are there, one by one. */
function bytesOf(extents: readonly { start: number; end: number }[]): boolean[] {
  return Array.from({ length: SIZE }, (_, at) => extents.some(({ start, end }) => start <= at && at < end));
}

describe('extents', () => {
  it('hold the bytes that were added and no others, in order and without touching', () => {
    fc.assert(
      fc.property(added, (input) => {
        const extents = new Extents(input);
        expect(bytesOf(extents.list)).toEqual(bytesOf(input));
        expect(extents.bytes).toBe(bytesOf(input).filter(Boolean).length);
        for (const [index, { start, end }] of extents.list.entries()) {
          expect(start).toBeLessThan(end);
          expect(start).toBeGreaterThan(extents.list[index - 1]?.end ?? -1);
        }
      }),
    );
  });

  it('tell how far everything is there from any byte on, and where the next extent begins', () => {
    fc.assert(
      fc.property(added, fc.integer({ min: 0, max: SIZE - 1 }), (input, at) => {
        const bytes = bytesOf(input);
        const hole = bytes.indexOf(false, at);
        const extents = new Extents(input);
        expect(extents.coveredTo(at)).toBe(bytes[at] === true ? (hole < 0 ? SIZE : hole) : at);
        const starts = bytes.flatMap((is, index) => (is && bytes[index - 1] !== true ? [index] : []));
        expect(extents.nextStart(at)).toBe(starts.find((start) => start > at));
      }),
    );
  });

  it('and their gaps make up the whole', () => {
    fc.assert(
      fc.property(added, (input) => {
        const extents = new Extents(input);
        const gaps = extents.gaps(SIZE);
        expect(bytesOf(gaps)).toEqual(bytesOf(input).map((is) => !is));
        expect(new Extents([...input, ...gaps]).list).toEqual([{ start: 0, end: SIZE }]);
      }),
    );
  });
});
