import { describe, expect, it } from 'vitest';
import { contentRange, MAX_RANGES, parseRange } from '../../src/oci/range.ts';

const SIZE = 2048;
const one = (start: number, end: number) => ({ kind: 'ranges', ranges: [{ start, end }] });

describe('a Range header', () => {
  it.each([
    ['bytes=500-1499', one(500, 1500)],
    ['bytes=500-', one(500, 2048)],
    ['bytes=-500', one(1548, 2048)],
    ['bytes=-5000', one(0, 2048)],
    ['bytes=2000-5000', one(2000, 2048)],
    ['bytes=0-0', one(0, 1)],
    ['Bytes = 0-1 ', one(0, 2)],
    ['bytes=0-,,', one(0, 2048)],
  ])('%j asks for a part', (header, expected) => {
    expect(parseRange(header, SIZE)).toEqual(expected);
  });

  it.each(['bytes=500-0', 'bytes=5000-10000', 'bytes=2048-', 'bytes=-0', `bytes=${'9'.repeat(40)}-`])(
    '%j cannot be satisfied',
    (header) => {
      expect(parseRange(header, SIZE)).toEqual({ kind: 'unsatisfiable' });
    },
  );

  it.each([
    undefined,
    '',
    'bytes',
    'bytes=',
    'bytes=-',
    'bytes=a-b',
    'bytes=1-2-3',
    'lines=0-5',
    'bytes=0x1-2',
    'bytes=1 - 2',
  ])('%j is ignored', (header) => {
    expect(parseRange(header, SIZE)).toEqual({ kind: 'whole' });
  });

  it('may name several parts, of which those beyond the end are dropped', () => {
    expect(parseRange('bytes=0-1, 5000-, -2', SIZE)).toEqual({
      kind: 'ranges',
      ranges: [
        { start: 0, end: 2 },
        { start: 2046, end: 2048 },
      ],
    });
  });

  it.each([
    ['bytes=0-1,2-3', ['0-4']],
    ['bytes=0-,0-,0-', ['0-2048']],
    ['bytes=100-200,0-10,150-300,11-11', ['100-301', '0-12']],
    ['bytes=20-30,0-5,-2048', ['0-2048']],
    ['bytes=8-9,4-5,0-1', ['8-10', '4-6', '0-2']],
  ])('%j makes one of what overlaps or meets, in the order of the first ones', (header, expected) => {
    const parsed = parseRange(header, SIZE);
    const ranges = parsed.kind === 'ranges' ? parsed.ranges : [];
    expect(ranges.map(({ start, end }) => `${start}-${end}`)).toEqual(expected);
  });

  it('is ignored when it names more parts than the limit', () => {
    const many = (count: number) =>
      `bytes=${Array.from({ length: count }, (_, i) => `${2 * i}-${2 * i}`).join(',')}`;
    expect(parseRange(many(MAX_RANGES), 2 * SIZE)).toMatchObject({ ranges: { length: MAX_RANGES } });
    expect(parseRange(many(MAX_RANGES + 1), 2 * SIZE).kind).toBe('whole');
  });

  it('of an empty blob can never be satisfied', () => {
    expect(parseRange('bytes=0-', 0)).toEqual({ kind: 'unsatisfiable' });
  });

  it('is confirmed with a numeric total', () => {
    expect(contentRange({ start: 5, end: 10 }, 20)).toBe('bytes 5-9/20');
  });
});
