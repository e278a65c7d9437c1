import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parsePrefixLengths, parseRequestRate } from '../../src/config/client-limits.ts';
import { RequestRates } from '../../src/http/registry/clients.ts';
import { ipBytes } from '../../src/lib/networks.ts';
import { networkPrefix } from '../../src/lib/networks.ts';

describe('networks of addresses', () => {
  const bits = { v4: 24, v6: 48 };

  it.each([
    ['192.0.2.1', '192.0.2.255', true],
    ['192.0.2.1', '192.0.3.1', false],
    ['2001:db8:1:2::3', '2001:db8:1:ffff:1:2:3:4', true],
    ['2001:db8:1::', '2001:db8:2::', false],
    ['::', '::ffff', true],
    ['0.0.0.1', '::1', false],
    ['64:ff9b::192.0.2.1', '64:ff9b::c000:201', true],
    ['fe80::1%eth0', 'fe80::2', true],
    ['nonsense', 'nonsense', true],
    ['nonsense', 'other', false],
  ])('%s and %s are one: %s', (one, other, isOne) => {
    expect(networkPrefix(one, bits) === networkPrefix(other, bits)).toBe(isOne);
  });

  it('are what the address begins with, however it is written', () => {
    fc.assert(
      fc.property(fc.ipV6(), fc.integer({ min: 1, max: 128 }), (address, v6) => {
        const bytes = ipBytes(address) ?? Buffer.alloc(0);
        expect(bytes).toHaveLength(16);
        const long = bytes.toString('hex').match(/.{4}/g)?.join(':') ?? '';
        expect(networkPrefix(long, { v4: 32, v6 })).toBe(networkPrefix(address, { v4: 32, v6 }));
      }),
    );
  });
});

describe('a rate of requests', () => {
  it('allows a burst, and then one whenever its time has come', () => {
    let now = 0;
    const rates = new RequestRates(
      { requests: 60, perMs: 60_000, prefixBits: { v4: 32, v6: 64 } },
      () => now,
    );
    for (let i = 0; i < 60; i++) expect(rates.take('192.0.2.1')).toBeUndefined();
    expect(rates.take('192.0.2.1')).toBe(1);
    now = 999;
    expect(rates.take('192.0.2.1')).toBe(1);
    now = 1000;
    expect(rates.take('192.0.2.1')).toBeUndefined();
    expect(rates.take('192.0.2.1')).toBe(1);
    now = 10_000_000;
    for (let i = 0; i < 60; i++) expect(rates.take('192.0.2.1')).toBeUndefined();
    expect(rates.take('192.0.2.1')).toBe(1);
  });

  it('is never exceeded by more than the burst, whoever asks when', () => {
    const asks = fc.array(fc.tuple(fc.integer({ min: 0, max: 5000 }), fc.integer({ min: 0, max: 3 })));
    fc.assert(
      fc.property(asks, (steps) => {
        let now = 0;
        const taken = [0, 0, 0, 0];
        const rates = new RequestRates(
          { requests: 5, perMs: 10_000, prefixBits: { v4: 32, v6: 64 } },
          () => now,
        );
        for (const [pause, who] of steps) {
          now += pause;
          if (rates.take(`192.0.2.${who}`) === undefined) taken[who] = (taken[who] ?? 0) + 1;
          for (const count of taken) expect(count).toBeLessThanOrEqual(5 + (now * 5) / 10_000 + 1e-6);
        }
      }),
    );
  });
});

describe('settings of rates', () => {
  it('are read', () => {
    expect(parseRequestRate('off')).toBeUndefined();
    expect(parseRequestRate('50/s')).toEqual({ requests: 50, perMs: 1000 });
    expect(parseRequestRate('100000/h')).toEqual({ requests: 100_000, perMs: 3_600_000 });
    expect(parsePrefixLengths('24/56')).toEqual({ v4: 24, v6: 56 });
  });

  it.each(['', '50', '0/s', '1/d', '1.5/s', '-1/s', '50 / s'])('refuse %j as a rate', (text) => {
    expect(() => parseRequestRate(text)).toThrow('is not a rate');
  });

  it.each(['', '24', '0/64', '33/64', '24/129', '24/0', 'a/b'])('refuse %j as prefixes', (text) => {
    expect(() => parsePrefixLengths(text)).toThrow('is not a prefix length');
  });
});
