import { describe, expect, it } from 'vitest';
import { BufferPool } from '../../../src/http/registry/blob.ts';

const buffersFor = (maxLarge: number) => new BufferPool({ maxLarge, largeBytes: 256, smallBytes: 64 });
const sizes = ({ pair }: { readonly pair: readonly Buffer[] }) => pair.map(({ length }) => length);

describe('the buffers of transfers', () => {
  it('are large for the first ones and small for those beyond', () => {
    const buffers = buffersFor(2);
    const leases = [buffers.lend(), buffers.lend(), buffers.lend()];
    expect(leases.map(sizes)).toEqual([
      [256, 256],
      [256, 256],
      [64, 64],
    ]);
  });

  it('are large again as soon as one that had large ones is over', () => {
    const buffers = buffersFor(1);
    const large = buffers.lend();
    const small = buffers.lend();
    small.end();
    expect(sizes(buffers.lend())).toEqual([64, 64]);
    large.end();
    large.end();
    expect(sizes(buffers.lend())).toEqual([256, 256]);
    expect(sizes(buffers.lend())).toEqual([64, 64]);
  });

  it('are used again once they are given back, and never by two transfers', () => {
    const buffers = buffersFor(1);
    const first = buffers.lend();
    first.giveBack();
    first.end();
    const [one, other] = buffers.lend().pair;
    expect(first.pair.includes(one)).toBe(true);
    expect(first.pair.includes(other)).toBe(true);
    expect(one).not.toBe(other);
  });

  it('are not used again if their transfer ended while they may still be sent', () => {
    const buffers = buffersFor(1);
    const failed = buffers.lend();
    failed.end();
    for (const buffer of buffers.lend().pair) expect(failed.pair.includes(buffer)).toBe(false);
  });
});
