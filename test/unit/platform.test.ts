import { describe, expect, it } from 'vitest';
import {
  bestMatch,
  compatiblePlatforms,
  formatPlatform,
  parsePlatform,
  type Platform,
} from '../../src/oci/platform.ts';
import { platformOfUserAgent } from '../../src/oci/user-agent.ts';

const platform = (text: string): Platform => {
  const parsed = parsePlatform(text);
  if (parsed === undefined) throw new Error(`not a platform: ${text}`);
  return parsed;
};
const compatible = (text: string): string[] => compatiblePlatforms(platform(text)).map(formatPlatform);

describe('a platform', () => {
  it.each([
    ['linux/x86_64', 'linux/amd64'],
    ['Linux/AMD64/v1', 'linux/amd64'],
    ['linux/aarch64', 'linux/arm64'],
    ['linux/arm64/v8', 'linux/arm64'],
    ['linux/arm64/9.0', 'linux/arm64/v9'],
    ['linux/armhf', 'linux/arm/v7'],
    ['linux/armel', 'linux/arm/v6'],
    ['linux/arm', 'linux/arm/v7'],
    ['linux/arm/6', 'linux/arm/v6'],
    ['linux/i386', 'linux/386'],
    ['macos/arm64', 'darwin/arm64'],
  ])('%s is normalised to %s', (text, expected) => {
    expect(formatPlatform(platform(text))).toBe(expected);
  });

  it.each(['', 'linux', 'linux/', '/amd64', 'linux/amd64/v2/x', 'linux/am d64', 'linux/amd64\n'])(
    '%j is none',
    (text) => {
      expect(parsePlatform(text)).toBeUndefined();
    },
  );

  // The orders of containerd/platforms v1.0.0-rc.4, platformVector.
  it.each([
    ['linux/amd64', ['linux/amd64', 'linux/386']],
    ['linux/amd64/v3', ['linux/amd64/v3', 'linux/amd64/v2', 'linux/amd64', 'linux/386']],
    ['linux/arm/v7', ['linux/arm/v7', 'linux/arm/v6', 'linux/arm/v5']],
    ['linux/arm/v5', ['linux/arm/v5']],
    ['linux/arm64', ['linux/arm64', 'linux/arm/v8', 'linux/arm/v7', 'linux/arm/v6', 'linux/arm/v5']],
    ['linux/arm64/v12', []],
    ['linux/riscv64', ['linux/riscv64']],
  ])('%s runs images of %j', (text, expected) => {
    expect(compatible(text)).toEqual(expected);
  });

  it('of arm64/v9 also runs v8.5 and everything below', () => {
    expect(compatible('linux/arm64/v9').slice(0, 7)).toEqual([
      'linux/arm64/v9',
      'linux/arm64/v8.5',
      'linux/arm64/v8.4',
      'linux/arm64/v8.3',
      'linux/arm64/v8.2',
      'linux/arm64/v8.1',
      'linux/arm64',
    ]);
  });
});

describe('the best entry of an index', () => {
  const entry = (text: string | undefined, id = text) =>
    text === undefined ? { id } : { id, platform: platform(text) };

  it('is the closest compatible one, not the first', () => {
    const entries = [entry('linux/arm/v5'), entry('linux/arm/v7'), entry('linux/arm/v6')];
    expect(bestMatch(platform('linux/arm/v7'), entries)?.id).toBe('linux/arm/v7');
    expect(bestMatch(platform('linux/arm64'), entries)?.id).toBe('linux/arm/v7');
  });

  it('is the first of equals', () => {
    expect(
      bestMatch(platform('linux/amd64'), [entry('linux/amd64', 'a'), entry('linux/amd64', 'b')])?.id,
    ).toBe('a');
  });

  it('is one without a platform only when none matches, and never an unknown one', () => {
    const unknown = { id: 'attestation', platform: { os: 'unknown', architecture: 'unknown' } };
    expect(bestMatch(platform('linux/amd64'), [entry(undefined, 'bare'), entry('linux/amd64')])?.id).toBe(
      'linux/amd64',
    );
    expect(bestMatch(platform('linux/s390x'), [unknown, entry(undefined, 'bare')])?.id).toBe('bare');
    expect(bestMatch(platform('linux/s390x'), [unknown, entry('linux/amd64')])).toBeUndefined();
  });
});

describe('a User-Agent', () => {
  it('tells the platform of a Docker Engine, and not that of its command line', () => {
    const docker =
      'docker/28.5.2 go/go1.24 git-commit/abc kernel/6.1 os/linux arch/arm64 UpstreamClient(Docker-Client/28.5.2 \\(darwin\\) os/darwin arch/amd64)';
    expect(platformOfUserAgent(docker)).toEqual({ os: 'linux', architecture: 'arm64' });
    expect(platformOfUserAgent('cri-o/1.30.0 go/go1.22 os/linux arch/s390x')).toEqual({
      os: 'linux',
      architecture: 's390x',
    });
  });

  it('tells nothing for other clients', () => {
    for (const userAgent of [
      undefined,
      '',
      'containerd/v2.3.4',
      'skopeo/1.9.3',
      'UpstreamClient(os/linux arch/amd64)',
      'x os/ arch/',
    ]) {
      expect(platformOfUserAgent(userAgent)).toBeUndefined();
    }
  });
});
