import { describe, expect, it } from 'vitest';
import { checkText, type CheckedImage } from '../../../src/cli/commands/check.ts';
import { planLines, warmText } from '../../../src/cli/commands/warm.ts';
import { Limiter } from '../../../src/lib/turns.ts';
import { deferred } from '../../../src/lib/promises.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import type { WarmPlan } from '../../../src/operations/protocol.ts';

const DIGEST = digestOf(Buffer.from('x'));
const PLAN: WarmPlan = { images: 12, complete: 3, pulls: 24, bytes: 3.2e9, isAtLeast: true, allowances: [] };

describe('what is said before images are brought in', () => {
  it('is what it costs, and how many pulls are left', () => {
    const allowance = { host: 'docker.io', identity: 'anonymous', limit: 100, remaining: 76, pulls: 24 };
    expect(planLines({ ...PLAN, allowances: [allowance] })).toEqual([
      '12 images, 3 of them cached already; to download: at least 24 pulls and 3.2 GB',
      '76 of 100 pulls are left at docker.io (anonymous)',
    ]);
  });

  it('is that there are too few of them', () => {
    const allowance = { host: 'docker.io', identity: 'carol', limit: 200, remaining: 20, pulls: 24 };
    expect(planLines({ ...PLAN, complete: 0, isAtLeast: false, allowances: [allowance] })).toEqual([
      '12 images; to download: 24 pulls and 3.2 GB',
      '20 of 200 pulls are left at docker.io (carol), which is not enough; repeat the command later',
    ]);
  });
});

describe('what is said after images were brought in', () => {
  it('is a row for each, and below why some are not whole', () => {
    const image = { manifests: 2, blobs: 4, bytes: 5e6, fetchedBytes: 0, failures: [], notes: [] };
    const images = [
      { ...image, image: 'golang:1.22', platforms: ['linux/amd64', 'linux/arm64'], digest: DIGEST },
      { ...image, image: 'app:1', platforms: ['all'], bytes: 0, failures: ['no', 'nor'], notes: ['but'] },
    ];
    const text = warmText({ images, pulls: 2, bytes: 7, durationMs: 2000 });
    expect(text.split('\n')).toEqual([
      expect.stringMatching(/^IMAGE +PLATFORMS +DIGEST +SIZE +FETCHED +RESULT$/),
      expect.stringMatching(/^golang:1.22 +linux\/amd64,linux\/arm64 +sha256:\w+ +5.0 MB +- +cached$/),
      expect.stringMatching(/^app:1 +all +- +0 B +- +failed; but$/),
      'app:1: no',
      'app:1: nor',
      '2 images, 7 B and 2 pulls in 2.0 s: 1 failed',
      '',
    ]);
  });
});

describe('what is said of images that are checked', () => {
  const image: CheckedImage = {
    image: 'golang:1.22',
    digest: DIGEST,
    isReady: false,
    problems: [],
    foreignLayers: 0,
    neededBy: ['a:1', 'b:2'],
    platforms: [
      { platform: 'linux/amd64', isComplete: true, blobs: 3, bytes: 3e6, missing: [] },
      {
        platform: 'linux/arm64',
        isComplete: false,
        blobs: 3,
        bytes: 3e6,
        missing: [
          { kind: 'manifest', partOf: 'image', digest: DIGEST, reason: 'x' },
          { kind: 'blob', partOf: 'image', digest: DIGEST, size: 1e6, reason: 'x' },
        ],
      },
    ],
  };

  it('is a row for each platform, what was not understood, and the verdict', () => {
    expect(checkText({ images: [image], problems: ['c:1: why'], notes: ['d:2: how'] }).split('\n')).toEqual([
      expect.stringMatching(/^IMAGE +PLATFORM +SIZE +STATE +NEEDED BY$/),
      expect.stringMatching(/^golang:1.22 +linux\/amd64 +3.0 MB +cached +a:1, b:2$/),
      expect.stringMatching(/ +partial: 1 manifest, 1 of 3 blobs \(1.0 MB\) missing +a:1, b:2$/),
      'not understood: c:1: why',
      'note: d:2: how',
      '0 of 1 image could be pulled now if upstreams were unreachable',
      '',
    ]);
  });

  it('is not that all is well where nothing could be read', () => {
    expect(checkText({ images: [], problems: ['c:1: why'], notes: [] })).toBe(
      'not understood: c:1: why\nno image was found; with --allow-empty this is no failure\n',
    );
  });
});

describe('a limiter', () => {
  it('lets so many run at a time, in their order, whatever becomes of those before', async () => {
    const limiter = new Limiter(2);
    const gates = [0, 1, 2, 3].map(() => deferred<void>());
    const begun: number[] = [];
    const runs = gates.map((gate, at) =>
      limiter.run(() => {
        begun.push(at);
        return gate.promise;
      }),
    );
    const settled = Promise.allSettled(runs);
    expect(begun).toEqual([0, 1]);
    gates[1]?.reject(new Error('no'));
    await expect(runs[1]).rejects.toThrow('no');
    await Promise.resolve();
    expect(begun).toEqual([0, 1, 2]);
    for (const gate of gates) gate.resolve();
    expect((await settled).map(({ status }) => status)).toEqual([
      'fulfilled',
      'rejected',
      'fulfilled',
      'fulfilled',
    ]);
    expect(begun).toEqual([0, 1, 2, 3]);
  });
});
