import { describe, expect, it } from 'vitest';
import {
  fittingEntries,
  ListedOrder,
  orderFor,
  platformsThatRunOn,
  windowsVersionRuns,
} from '../../src/oci/platform-order.ts';
import { formatPlatform, parsePlatform, type Platform } from '../../src/oci/platform.ts';
import { ANSWERS } from './platform-answers.ts';
import {
  FEATURE_ORDER,
  ONLY,
  ONLY_STRICT,
  WINDOWS_BUILDS,
  WINDOWS_ORDER,
  expand,
} from './platform-vectors.ts';

const platform = (text: string): Platform => {
  const parsed = parsePlatform(text);
  if (parsed === undefined) throw new Error(`not a platform: ${text}`);
  return parsed;
};
const windows = (osVersion: string): Platform => ({
  os: 'windows',
  architecture: 'amd64',
  ...(osVersion === '' ? {} : { osVersion }),
});
const runnable = (text: string): string[] => platformsThatRunOn(platform(text)).map(formatPlatform);

describe('what runs on a machine', () => {
  const vectors = (table: typeof ONLY) =>
    table.flatMap(({ wanted, fits, fitsNot }) => [
      ...fits.flatMap(expand).map((image) => [wanted, image, true] as const),
      ...fitsNot.flatMap(expand).map((image) => [wanted, image, false] as const),
    ]);

  it.each(vectors(ONLY))('of %s: an image for %s, %s', (wanted, image, fits) => {
    expect(orderFor(platform(wanted)).matches(platform(image))).toBe(fits);
  });

  it.each(vectors(ONLY_STRICT))('of %s without fallbacks: an image for %s, %s', (wanted, image, fits) => {
    expect(new ListedOrder([platform(wanted)]).matches(platform(image))).toBe(fits);
  });

  it.each([
    ['linux/amd64', ['linux/amd64', 'linux/386']],
    ['linux/amd64/v3', ['linux/amd64/v3', 'linux/amd64/v2', 'linux/amd64', 'linux/386']],
    ['linux/arm/v7', ['linux/arm/v7', 'linux/arm/v6', 'linux/arm/v5']],
    ['linux/arm/v5', ['linux/arm/v5']],
    ['linux/arm64', ['linux/arm64', 'linux/arm/v8', 'linux/arm/v7', 'linux/arm/v6', 'linux/arm/v5']],
    ['linux/arm64/v12', []],
    ['linux/arm64/v9.8', []],
    ['linux/riscv64', ['linux/riscv64']],
  ])('of %s is, best first, %j', (text, expected) => {
    expect(runnable(text)).toEqual(expected);
  });

  it('of arm64/v9 begins with v9, v8.5 and everything below', () => {
    const minors = ['v9', 'v8.5', 'v8.4', 'v8.3', 'v8.2', 'v8.1'].map((each) => `linux/arm64/${each}`);
    expect(runnable('linux/arm64/v9').slice(0, 7)).toEqual([...minors, 'linux/arm64']);
  });

  it.each(FEATURE_ORDER)('of %s is sorted by features: %j becomes %j', (wanted, given, sorted) => {
    for (const order of [orderFor(platform(wanted)), new ListedOrder([platform(wanted)])]) {
      const platforms = given.map(platform).sort((a, b) => order.compare(a, b));
      expect(platforms.map(formatPlatform)).toEqual(sorted);
    }
  });
});

describe('Windows', () => {
  it.each(WINDOWS_BUILDS)('of build %d runs images of build %d: %s', (host, image, runs) => {
    expect(windowsVersionRuns(`10.0.${host}`, `10.0.${image}`)).toBe(runs);
    expect(windowsVersionRuns(`10.0.${host}.1`, `10.0.${image}.4711`)).toBe(runs);
  });

  it('runs what states no version, and without one of its own everything', () => {
    for (const version of ['10.0.17763', '10.0.22621', '']) {
      expect(windowsVersionRuns(undefined, version)).toBe(true);
      expect(windowsVersionRuns('not a version', version)).toBe(true);
      expect(windowsVersionRuns('10.0.17763', '')).toBe(true);
    }
    expect(windowsVersionRuns('99.99.99.99', undefined)).toBe(true);
    expect(windowsVersionRuns('10.0.20348', '11.0.20348')).toBe(false);
    expect(windowsVersionRuns('10.0.20348', 'ltsc2022')).toBe(false);
  });

  it.each(WINDOWS_ORDER)('%s is given, of %j, in this order: %j', (host, given, sorted) => {
    const order = orderFor(windows(host));
    const named = (text: string) => (text === 'linux' ? platform('linux/amd64') : windows(text));
    const platforms = given.map(named).sort((a, b) => order.compare(a, b));
    expect(platforms).toEqual(sorted.map(named));
  });

  it('needs no graphical part to be named', () => {
    const gui: Platform = { ...windows('10.0.17763'), osFeatures: ['win32k'] };
    expect(orderFor(windows('10.0.17763')).matches(gui)).toBe(true);
    expect(orderFor(windows('')).matches({ ...gui, osFeatures: ['win32k', 'other'] })).toBe(false);
  });
});

describe('the entries of an index that fit', () => {
  const entry = (text: string | undefined, id = text) =>
    text === undefined ? { id } : { id, platform: platform(text) };
  const ids = (wanted: string, entries: readonly { id: string | undefined; platform?: Platform }[]) =>
    fittingEntries(platform(wanted), entries).map(({ id }) => id);

  it('come closest first, whatever their order', () => {
    const entries = ['linux/arm/v5', 'linux/arm/v7', 'linux/arm64', 'linux/arm/v6'].map((each) =>
      entry(each),
    );
    expect(ids('linux/arm/v7', entries)).toEqual(['linux/arm/v7', 'linux/arm/v6', 'linux/arm/v5']);
    expect(ids('linux/arm64', entries)[0]).toBe('linux/arm64');
  });

  it('come in the order of the index if they are equals', () => {
    expect(ids('linux/amd64', [entry('linux/amd64', 'a'), entry('linux/x86_64', 'b')])).toEqual(['a', 'b']);
  });

  it('come last without a platform, and never with an unknown one', () => {
    const unknown = { id: 'attestation', platform: { os: 'unknown', architecture: 'unknown' } };
    const bare = entry(undefined, 'bare');
    expect(ids('linux/amd64', [bare, unknown, entry('linux/amd64')])).toEqual(['linux/amd64', 'bare']);
    expect(ids('linux/s390x', [unknown, bare])).toEqual(['bare']);
    expect(ids('unknown/unknown', [unknown, entry('linux/amd64')])).toEqual([]);
  });

  it('include those that leave the system out, as the client has one', () => {
    const nameless = { id: 'nameless', platform: { os: '', architecture: 'amd64' } };
    expect(ids('linux/amd64', [nameless])).toEqual(['nameless']);
    expect(ids('linux/arm64', [nameless])).toEqual([]);
  });
});

describe('the entries that containerd itself chooses', () => {
  /** As an index may spell it: not by its usual names. */
  const spelt = (text: string): Platform => {
    const [system = '', architecture = '', variant] = text.split('/');
    const [os = '', options = ''] = system.replace(')', '').split('(');
    const [osVersion = '', ...osFeatures] = options.split('+');
    return {
      os,
      architecture,
      ...(variant === undefined ? {} : { variant }),
      ...(osVersion === '' ? {} : { osVersion }),
      ...(osFeatures.length === 0 ? {} : { osFeatures }),
    };
  };

  it.each(ANSWERS)('are chosen here, in the same order: %s', (answer) => {
    const [wanted = '', entries = '', places = ''] = answer.split(' | ');
    const listed = entries.split(' ').map((text, place) => ({ place, platform: spelt(text) }));
    expect(fittingEntries(spelt(wanted), listed).map(({ place }) => place)).toEqual(
      places.split(' ').map(Number),
    );
  });
});
