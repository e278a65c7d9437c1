import { describe, expect, it } from 'vitest';
import { parseTagTtl } from '../../src/config/tags.ts';
import { UnitError } from '../../src/config/units.ts';
import { parseImageName } from '../../src/oci/image-name.ts';
import { TagTtls, type TtlMs } from '../../src/mirror/manifest/freshness.ts';

/** The ttl of `image` under these settings. */
function ttlOf(settings: readonly string[], image: string): TtlMs {
  const { rules, otherwise } = parseTagTtl(settings);
  const name = parseImageName(image);
  if (name?.reference.kind !== 'tag') throw new Error(`${image} is no tag`);
  return new TagTtls({ rules, otherwiseMs: otherwise }).of(name.repository, name.reference.tag);
}

describe('tagTtl', () => {
  it.each([
    [['5m'], 'golang:1.22', 300_000],
    [['never'], 'golang:1.22', 'never'],
    [['0s'], 'golang', 0],
    [[], 'golang', 60_000],
    [['library/*:latest=1m', '1h'], 'golang', 60_000],
    [['library/*:latest=1m', '1h'], 'golang:1.22', 3_600_000],
    [['library/*:latest=1m', '1h'], 'acme/app', 3_600_000],
    [['1h', '*:sha-*=never'], 'golang:sha-1', 'never'],
    [['1h', '*:sha-*=never'], 'acme/team/app:sha-1', 'never'],
    [['1h', '*:sha-*=never'], 'registry.local:5000/app:sha-1', 'never'],
    [['1h', '*:sha-*=never'], 'golang:nosha-1', 3_600_000],
    [['1h', 'golang:*=5s'], 'golang:1.22', 5000],
    [['1h', 'golang:*=5s'], 'ghcr.io/golang:1.22', 3_600_000],
    [['1h', 'ghcr.io/**:*=5s'], 'ghcr.io/org/app:v1', 5000],
    [['1h', 'ghcr.io/**:*=5s'], 'org/app:v1', 3_600_000],
    [['1h', 'docker.io/acme/*:*=5s'], 'acme/app:v1', 5000],
    [['1h', 'docker.io/golang:*=5s'], 'golang:v1', 5000],
    [['1h', 'registry.local:5000/app:v1=5s'], 'registry.local:5000/app:v1', 5000],
    [['a/*:latest=1s', 'a/b:latest=2s'], 'a/b', 1000],
    [['a/b:latest=2s', 'a/*:latest=1s'], 'a/b', 2000],
  ])('of %j for %s is %s', (settings, image, ttl) => {
    expect(ttlOf(settings, image)).toBe(ttl);
  });

  it.each([
    ['soon'],
    ['1m', '2m'],
    ['366d'],
    ['golang=1m'],
    ['golang:=1m'],
    [':latest=1m'],
    ['GOLANG:latest=1m'],
    ['golang:la test=1m'],
    ['golang:latest='],
    ['golang:latest=soon'],
    ['a//b:latest=1m'],
  ])('is not %j', (...settings) => {
    expect(() => parseTagTtl(settings)).toThrow(UnitError);
  });
});
