import { describe, expect, it } from 'vitest';
import { imagePattern } from '../../src/image-files/list.ts';
import { lockedImages, type PulledImage } from '../../src/image-files/lock.ts';
import { digestOf } from '../../src/oci/digest.ts';

const golang = { host: 'docker.io', name: 'library/golang' };
const app = { host: 'ghcr.io', name: 'org/app' };
const [list, moved, amd64Child, arm64Child] = ['list', 'moved', 'amd64', 'arm64'].map((text) =>
  digestOf(Buffer.from(text)),
) as [PulledImage['root'], PulledImage['root'], PulledImage['root'], PulledImage['root']];
const amd64 = { os: 'linux', architecture: 'amd64' };
const arm64 = { os: 'linux', architecture: 'arm64' };

describe('what was pulled', () => {
  it('is locked by what each tag names, with all platforms that were taken of it', () => {
    expect(
      lockedImages([
        { repository: golang, tag: 'latest', root: list, lastAt: 1 },
        { repository: golang, tag: 'latest', root: list, child: arm64Child, platform: arm64, lastAt: 2 },
        { repository: golang, tag: '1.22', root: list, child: amd64Child, platform: amd64, lastAt: 3 },
      ]),
    ).toEqual([
      { repository: golang, tag: 'latest', digest: list, platforms: [amd64, arm64] },
      { repository: golang, tag: '1.22', digest: list, platforms: [amd64, arm64] },
    ]);
  });

  it('is locked by its digest alone once its tag has moved on', () => {
    const images = lockedImages([
      { repository: golang, tag: 'latest', root: moved, platform: amd64, lastAt: 20 },
      { repository: golang, tag: 'latest', root: list, platform: amd64, lastAt: 10 },
      { repository: app, tag: 'latest', root: list, lastAt: 5 },
    ]);
    expect(images).toEqual([
      { repository: golang, tag: 'latest', digest: moved, platforms: [amd64] },
      { repository: golang, digest: list, platforms: [amd64] },
      { repository: app, tag: 'latest', digest: list, platforms: [] },
    ]);
  });

  it('has no image of its own for what was taken out of a list', () => {
    const images = lockedImages([
      { repository: golang, root: amd64Child, platform: amd64, lastAt: 1 },
      { repository: golang, tag: '1.22', root: list, child: amd64Child, platform: amd64, lastAt: 2 },
      { repository: app, root: amd64Child, platform: amd64, lastAt: 1 },
    ]);
    expect(images).toEqual([
      { repository: golang, tag: '1.22', digest: list, platforms: [amd64] },
      { repository: app, digest: amd64Child, platforms: [amd64] },
    ]);
  });
});

describe('a pattern of images', () => {
  it.each([
    ['golang', true],
    ['go*', true],
    ['golang:1.*', true],
    ['golang:2*', false],
    ['docker.io/library/*', true],
    ['docker.io/library/golang:1.22', true],
    ['*', true],
    ['ghcr.io/**', false],
    ['library/golang', true],
    ['library/*', true],
    ['docker.io/golang', true],
    ['index.docker.io/golang:1.*', true],
    ['Docker.io/golang', true],
    ['docker.io/*', false],
  ])('%s fits golang:1.22: %s', (pattern, fits) => {
    expect(imagePattern(pattern)(golang, '1.22')).toBe(fits);
  });

  it('goes over the components of a path by two stars only', () => {
    expect(imagePattern('ghcr.io/**')(app, undefined)).toBe(true);
    expect(imagePattern('ghcr.io/*')(app, 'v1')).toBe(false);
  });
});
