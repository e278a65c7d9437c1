import { describe, expect, it } from 'vitest';
import { imagesJson, imagesText } from '../../../src/cli/commands/images.ts';
import { humanAge } from '../../../src/lib/text.ts';
import type { Digest } from '../../../src/oci/digest.ts';
import type { ImageEntry } from '../../../src/store/images.ts';

const NOW_MS = Date.UTC(2026, 0, 31);
const digest = (digit: string) => `sha256:${digit.repeat(64)}` as Digest;

const entry: ImageEntry = {
  repository: 'docker.io/library/golang',
  tags: ['1.22', 'latest'],
  digest: digest('a'),
  mediaType: 'application/vnd.oci.image.index.v1+json',
  kind: 'index',
  platform: undefined,
  indexes: [],
  bytes: 300_000_000,
  ownBytes: 300_000_000,
  state: 'cached',
  missingBlobs: 0,
  platforms: [{ platform: 'linux/arm64/v8', state: 'cached', missingBlobs: 0, missingAttestations: 0 }],
  before: [],
  pulledAt: NOW_MS - 3 * 3_600_000,
  isPinned: true,
};
const part: ImageEntry = {
  ...entry,
  tags: [],
  digest: digest('b'),
  kind: 'image',
  platform: { os: 'linux', architecture: 'arm64', variant: 'v8' },
  platforms: [],
  indexes: [entry.digest],
};
const untagged: ImageEntry = {
  ...part,
  repository: 'ghcr.io/org/app',
  digest: digest('c'),
  indexes: [],
  bytes: 1234,
  state: 'partial',
  missingBlobs: 2,
  isPinned: false,
  pulledAt: 0,
};

describe('what `pierhead images` prints', () => {
  it('is a line per tag or untagged digest, and how many images are parts of indexes', () => {
    const image = (name: string) => name.padEnd(`ghcr.io/org/app@${untagged.digest}`.length);
    expect(imagesText([entry, part, untagged], NOW_MS)).toBe(
      `\
${image('IMAGE')}  DIGEST               PLATFORM        SIZE    PULLED   STATE
${image('golang:1.22')}  sha256:aaaaaaaaaaaa  index           300 MB  3 h ago  cached; pinned
${image('golang:latest')}  sha256:aaaaaaaaaaaa  index           300 MB  3 h ago  cached; pinned
${image(`ghcr.io/org/app@${untagged.digest}`)}  sha256:cccccccccccc  linux/arm64/v8  1.2 kB  -        partial: 2 blobs missing
1 image of the indexes above: see --json
`,
    );
  });

  it.each<[text: string, index: Partial<ImageEntry>]>([
    ['missing', { state: 'missing', platforms: [], bytes: 0, isPinned: false }],
    [
      'partial: linux/arm64 lacks 3 blobs, linux/arm/v7 lacks 2 blobs (attestation), linux/amd64 lacks a manifest (attestation); pinned',
      {
        state: 'partial',
        platforms: [
          { platform: 'linux/s390x', state: 'cached', missingBlobs: 0, missingAttestations: 0 },
          { platform: 'linux/arm64', state: 'partial', missingBlobs: 3, missingAttestations: 0 },
          { platform: 'linux/arm/v7', state: 'partial', missingBlobs: 2, missingAttestations: 1 },
          { platform: 'linux/amd64', state: 'partial', missingBlobs: 0, missingAttestations: 1 },
        ],
      },
    ],
    [
      'missing; before: sha256:dddddddddddd, cached',
      { state: 'missing', platforms: [], isPinned: false, before: [{ tag: '1.22', digest: digest('d') }] },
    ],
  ])('says of an index %j', (text, index) => {
    const [, line = '', other = ''] = imagesText([{ ...entry, ...index }], NOW_MS).split('\n');
    expect(line.endsWith(`3 h ago  ${text}`)).toBe(true);
    // What another tag named before is no news of this one.
    expect(other.includes('before')).toBe(false);
  });

  it('says so when there are none', () => {
    expect(imagesText([], NOW_MS)).toBe('no image is cached\n');
  });

  it('is all that is known of all of them, as JSON', () => {
    const [first, second] = JSON.parse(imagesJson([entry, part])) as unknown[];
    expect(first).toEqual({ ...entry, platform: null, pulledAt: '2026-01-30T21:00:00.000Z' });
    expect(second).toMatchObject({ platform: 'linux/arm64/v8', indexes: [entry.digest], tags: [] });
  });

  it.each([
    [0, 'just now'],
    [59_999, 'just now'],
    [60_000, '1 min ago'],
    [3_600_000, '1 h ago'],
    [47 * 3_600_000, '47 h ago'],
    [48 * 3_600_000, '2 d ago'],
  ])('says of %i ms that they are %s', (ms, text) => {
    expect(humanAge(ms)).toBe(text);
  });
});
