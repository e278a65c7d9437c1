import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RecentWrites } from '../../src/download/recent-writes.ts';

const chunks = fc.array(fc.uint8Array({ minLength: 1, maxLength: 20 }), { minLength: 1, maxLength: 5 });

describe('what was written last', () => {
  it('is given back from any byte on, as far as it is wanted', () => {
    fc.assert(
      fc.property(
        fc.array(chunks, { minLength: 1, maxLength: 5 }),
        fc.nat(300),
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1, max: 300 }),
        (writes, position, maxBytes, keptBytes) => {
          const recent = new RecentWrites(() => keptBytes);
          const all = Buffer.concat(writes.flat());
          const starts: number[] = [];
          let start = 0;
          writes.forEach((write) => {
            const end = start + Buffer.concat(write).length;
            starts.push(start);
            recent.add(
              { start, end },
              write.map((chunk) => Buffer.from(chunk)),
            );
            start = end;
          });
          const remembered = starts.find((at) => all.length - at <= keptBytes) ?? starts.at(-1) ?? 0;
          const found = recent.from(position, maxBytes);
          const bytes = Buffer.concat(found);
          expect(bytes.equals(all.subarray(position, position + bytes.length))).toBe(true);
          expect(bytes.length).toBeLessThanOrEqual(maxBytes);
          expect(found.every(({ length }) => length > 0)).toBe(true);
          expect(bytes.length > 0).toBe(position >= remembered && position < all.length);
        },
      ),
    );
  });
});
