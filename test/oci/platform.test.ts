import { describe, expect, it } from 'vitest';
import {
  formatPlatform,
  normalizePlatform,
  parsePlatform,
  platformName,
  type Platform,
} from '../../src/oci/platform.ts';
import { FORMS, NO_PLATFORMS } from './platform-vectors.ts';

const platform = (text: string): Platform => {
  const parsed = parsePlatform(text);
  if (parsed === undefined) throw new Error(`not a platform: ${text}`);
  return parsed;
};

describe('a platform', () => {
  it.each(FORMS)('%s is written %s', (text, written) => {
    expect(formatPlatform(platform(text))).toBe(written);
    expect(formatPlatform(platform(written))).toBe(written);
  });

  it.each([...NO_PLATFORMS, 'linux/amd64\n', 'windows(%zz)/amd64', `linux/${'a'.repeat(300)}`])(
    '%j is none',
    (text) => {
      expect(parsePlatform(text)).toBeUndefined();
    },
  );

  it.each([
    ['linux/amd64', 'Linux', 'x86-64', 'V1'],
    ['linux/arm64', 'linux', 'aarch64', 'v8'],
    ['linux/arm64', 'linux', 'arm64', 'v8.0'],
    ['linux/arm64/v9', 'linux', 'arm64', '9.0'],
    ['linux/arm/v7', 'linux', 'arm', ''],
    ['linux/arm/v7', 'linux', 'armhf', 'v6'],
    ['linux/arm/v6', 'linux', 'armel', ''],
    ['linux/arm/v6', 'linux', 'arm', '6'],
    ['linux/386', 'linux', 'i386', 'v1'],
    ['darwin/arm64', 'macOS', 'ARM64', '8'],
  ])('%s is what %s/%s/%s means', (expected, os, architecture, variant) => {
    expect(platformName(normalizePlatform({ os, architecture, variant }))).toBe(expected);
  });

  it('has its features sorted, and each once', () => {
    const osFeatures = ['z', 'a', 'z', ''];
    expect(normalizePlatform({ os: 'linux', architecture: 'amd64', osFeatures }).osFeatures).toEqual([
      '',
      'a',
      'z',
    ]);
    expect(formatPlatform({ os: 'linux', architecture: 'amd64', osFeatures })).toBe('linux(+a+z)/amd64');
  });
});
