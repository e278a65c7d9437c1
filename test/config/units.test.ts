import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseListen, parseNetwork, parseRedisUrl, parseUpstreamUrl } from '../../src/config/addresses.ts';
import {
  formatDuration,
  formatSize,
  parseBoolean,
  parseDuration,
  parseSize,
  UnitError,
} from '../../src/config/units.ts';
import { parseRepositoryPattern, parseUsername } from '../../src/config/upstreams.ts';

const PARSERS = {
  parseSize,
  parseDuration,
  parseBoolean,
  parseListen,
  parseNetwork,
  parseRepositoryPattern,
  parseUsername,
  parseRedisUrl,
  parseUpstreamUrl,
};

/** Text near to what the units look like, so that the parsers get beyond their first check. */
const nearUnits = fc.oneof(
  fc.string(),
  fc.string({ unit: fc.constantFrom(...'0123456789.:/%[]-* dhmskMGTiB@#?'.split('')) }),
  fc.webUrl({ withQueryParameters: true, withFragments: true }),
  fc.ipV6(),
);

describe.each(Object.entries(PARSERS))('%s', (_name, parse) => {
  it('throws nothing but a UnitError, whatever the text', () => {
    fc.assert(
      fc.property(nearUnits, (text) => {
        try {
          parse(text);
        } catch (error) {
          expect(error).toBeInstanceOf(UnitError);
          expect(error).toMatchObject({ code: 'unit-invalid' });
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('a size', () => {
  it.each([
    ['0', 0],
    ['1048576', 1_048_576],
    ['12B', 12],
    ['50GB', 50e9],
    ['50 gb', 50e9],
    ['20GiB', 20 * 2 ** 30],
    ['1.5TiB', 1.5 * 2 ** 40],
    ['4.35GB', 4_350_000_000],
    ['1kB', 1000],
    ['1KiB', 1024],
  ])('%s is %i bytes', (text, bytes) => {
    expect(parseSize(text)).toEqual({ bytes });
  });

  it('may be a share of the disk', () => {
    expect(parseSize('80%')).toEqual({ percent: 80 });
    expect(parseSize('100%')).toEqual({ percent: 100 });
  });

  it.each([
    '',
    '-1',
    'NaN',
    '1e9',
    '0x10',
    '50G',
    '20Gi',
    '5iB',
    '1.5',
    '1.5B',
    '0%',
    '120%',
    '-5%',
    '9007199254740993',
    '99999999TB',
  ])('is not %j', (text) => {
    expect(() => parseSize(text)).toThrow(UnitError);
  });

  it('reads back what it formats', () => {
    const bytes = fc.oneof(
      fc.maxSafeNat(),
      fc.nat(4000).map((n) => n * 2 ** 30),
      fc.nat(4000).map((n) => n * 1e9),
    );
    fc.assert(
      fc.property(bytes, (n) => {
        expect(parseSize(formatSize({ bytes: n }))).toEqual({ bytes: n });
      }),
    );
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100 }), (percent) => {
        expect(parseSize(formatSize({ percent }))).toEqual({ percent });
      }),
    );
  });

  it('is formatted in the largest unit that loses nothing', () => {
    expect(formatSize({ bytes: 50e9 })).toBe('50GB');
    expect(formatSize({ bytes: 2 ** 20 })).toBe('1MiB');
    expect(formatSize({ bytes: 1001 })).toBe('1001B');
  });
});

describe('a duration', () => {
  it.each([
    ['0s', 0],
    ['250ms', 250],
    ['60s', 60_000],
    ['5m', 300_000],
    ['1h30m', 5_400_000],
    ['1d', 86_400_000],
    ['1d2h3m4s5ms', 93_784_005],
    ['90m', 5_400_000],
  ])('%s is %i ms', (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  it.each(['', '60', '-5s', '1.5h', '5 m', '30m1h', '1m1m', 's', 'NaN', 'Infinity', '1w', '99999999999999d'])(
    'is not %j',
    (text) => {
      expect(() => parseDuration(text)).toThrow(UnitError);
    },
  );

  it('reads back what it formats', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (ms) => {
        expect(parseDuration(formatDuration(ms))).toBe(ms);
      }),
    );
  });
});

describe('a boolean', () => {
  it.each([
    ['true', true],
    ['YES', true],
    ['1', true],
    ['false', false],
    ['no', false],
    ['0', false],
  ])('%s is %s', (text, value) => {
    expect(parseBoolean(text)).toBe(value);
  });

  it.each(['', 'on', 'y', '2'])('is not %j', (text) => {
    expect(() => parseBoolean(text)).toThrow(UnitError);
  });
});
