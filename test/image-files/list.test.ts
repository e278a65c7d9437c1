import { describe, expect, it } from 'vitest';
import { parseImageList, parseImageWords } from '../../src/image-files/list.ts';
import { renderLockFile } from '../../src/image-files/lock.ts';
import type { Digest } from '../../src/oci/digest.ts';

const DIGEST = `sha256:${'a1'.repeat(32)}` as Digest;
const OTHER = `sha256:${'b2'.repeat(32)}` as Digest;
const GOLANG = { host: 'docker.io', name: 'library/golang' };
const NGINX = { host: 'docker.io', name: 'library/nginx' };
const APP = { host: 'ghcr.io', name: 'org/app' };
const AMD64 = { os: 'linux', architecture: 'amd64' };
const ARM64 = { os: 'linux', architecture: 'arm64' };

describe('a list of images', () => {
  it('has one a line, by tag, by digest or by both, with comments and blank lines', () => {
    const text = [
      '# what the site needs',
      '',
      'golang:1.22',
      `  nginx@${DIGEST}   # the web server`,
      `ghcr.io/org/app:v1@${OTHER}\r`,
      'golang',
      '#golang:1.21',
    ].join('\n');
    expect(parseImageList('images.txt', text)).toEqual([
      { repository: GOLANG, tag: '1.22', platforms: [] },
      { repository: NGINX, digest: DIGEST, platforms: [] },
      { repository: APP, tag: 'v1', digest: OTHER, platforms: [] },
      { repository: GOLANG, tag: 'latest', platforms: [] },
    ]);
  });

  it('can say for which platforms', () => {
    expect(parseImageList('images.txt', 'golang:1.22 linux/amd64,linux/aarch64 linux/arm/v7\n')).toEqual([
      {
        repository: GOLANG,
        tag: '1.22',
        platforms: [AMD64, ARM64, { os: 'linux', architecture: 'arm', variant: 'v7' }],
      },
    ]);
  });

  it.each([
    ['nginx\nGolang', 'images.txt:2: "Golang" is not the name of an image'],
    ['\n\ngolang@sha256:12', 'images.txt:3: "golang@sha256:12" is not the name of an image'],
    ['golang arm64', 'images.txt:1: "arm64" is not a platform'],
    [`${'x'.repeat(500)}:`, `images.txt:1: "${'x'.repeat(80)}…" is not the name of an image`],
  ])('is refused with file and line where it is wrong: %j', (text, message) => {
    expect(() => parseImageList('images.txt', text)).toThrow(message);
  });

  it('comes from the words of a command, too', () => {
    expect(parseImageWords(['golang', `ghcr.io/org/app@${DIGEST}`])).toEqual([
      { repository: GOLANG, tag: 'latest', platforms: [] },
      { repository: APP, digest: DIGEST, platforms: [] },
    ]);
    expect(() => parseImageWords(['golang', '--x'])).toThrow('"--x" is not the name of an image');
  });
});

describe('a lock', () => {
  it('is YAML, sorted, with an item per line', () => {
    const lock = renderLockFile([
      { repository: NGINX, digest: DIGEST, platforms: [] },
      { repository: APP, tag: '1.20', digest: OTHER, platforms: [ARM64, AMD64, ARM64] },
      { repository: GOLANG, tag: 'latest', digest: DIGEST, platforms: [AMD64] },
      { repository: NGINX, digest: DIGEST, platforms: [] },
    ]);
    expect(lock)
      .toBe(`# Images by digest, written by \`pierhead lock\`. \`pierhead warm -f\` downloads them into a cache.
version: 1
images:
  - image: ghcr.io/org/app
    tag: "1.20"
    digest: ${OTHER}
    platforms:
      - linux/amd64
      - linux/arm64
  - image: golang
    tag: latest
    digest: ${DIGEST}
    platforms:
      - linux/amd64
  - image: nginx
    digest: ${DIGEST}
`);
    expect(parseImageList('images.lock', lock)).toEqual([
      { repository: APP, tag: '1.20', digest: OTHER, platforms: [AMD64, ARM64] },
      { repository: GOLANG, tag: 'latest', digest: DIGEST, platforms: [AMD64] },
      { repository: NGINX, digest: DIGEST, platforms: [] },
    ]);
  });

  it('can hold no images', () => {
    expect(parseImageList('a', renderLockFile([]))).toEqual([]);
    expect(parseImageList('a', 'version: 1\n')).toEqual([]);
    expect(parseImageList('a', '---\nversion: 1\nimages:\n')).toEqual([]);
  });

  it('may be edited by hand: a tag may look like a number', () => {
    const text = 'version: 1\nimages:\n  - { image: golang, tag: 1.20 }\n  - { tag: 010, image: nginx }\n';
    expect(parseImageList('a', text)).toEqual([
      { repository: GOLANG, tag: '1.20', platforms: [] },
      { repository: NGINX, tag: '010', platforms: [] },
    ]);
  });

  it.each([
    ['version: 2\nimages: []', 'a.lock:1: version "2"; this Pierhead reads version 1'],
    ['images: []', 'a.lock:1: the version is missing'],
    ['version: 1\nimages: golang', 'a.lock:2: images must be a list'],
    ['version: 1\nimages:\n  - golang:1.22', 'a.lock:3: an image must be a map'],
    ['version: 1\nimages:\n  - image: golang', 'a.lock:3: tag or digest is missing'],
    ['version: 1\nimages:\n  - tag: x', 'a.lock:3: image is missing'],
    ['version: 1\nimages:\n  - image: golang\n    tag: x\n    diggest: y', 'a.lock:5: unknown key "diggest"'],
    [
      'version: 1\nimages:\n  - image: golang\n    digest: sha256:12',
      'a.lock:4: "sha256:12" is not a valid digest',
    ],
    ['version: 1\nimages:\n  - image: Golang\n    tag: x', 'a.lock:3: "Golang" is not a valid image'],
    ['version: 1\nimages:\n  - image: [a]\n    tag: x', 'a.lock:3: "" is not a valid image'],
    [
      'version: 1\nimages:\n  - image: golang\n    tag: x\n    platforms:\n      - arm64',
      'a.lock:6: "arm64" is not a platform',
    ],
    ['version: 1\nimages:\n  - image: "golang\n', 'a.lock:4: this is not valid YAML'],
    ['version: 1\nversion: 1\n', 'a.lock:2: this is not valid YAML'],
  ])('is refused with file and line where it is wrong: %j', (text, message) => {
    expect(() => parseImageList('a.lock', text)).toThrow(message);
  });
});
