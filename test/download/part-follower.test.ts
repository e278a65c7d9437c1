import { describe, expect, it } from 'vitest';
import { aborted } from '../../src/lib/promises.ts';
import { deferred } from '../../src/lib/promises.ts';
import { Extents } from '../../src/lib/extents.ts';
import { PartFollower } from '../../src/download/part-follower.ts';
import type { BlobPart } from '../../src/store/blobs.ts';
import { withDeadline } from '../support/wait.ts';

const GIB = 1024 ** 3;

/** A follower of a part whose disk takes for ever to be read, and all of which was kept. */
function slowPart() {
  const hashing = deferred<void>();
  const errors: unknown[] = [];
  const part: Pick<BlobPart, 'hashTo' | 'note'> = {
    hashTo: async (_end, signal) => {
      hashing.resolve();
      if (signal !== undefined) await aborted(signal);
      signal?.throwIfAborted();
    },
    note: () => Promise.resolve(),
  };
  const written = new Extents([{ start: 0, end: 100 * GIB }]);
  const follower = new PartFollower(part, written, (error) => errors.push(error));
  return { follower, hashing: hashing.promise, errors };
}

describe('a part of which much is left to be hashed', () => {
  it('is let go of at once when its transfer is given up, and that is no failure of the disk', async () => {
    const { follower, hashing, errors } = slowPart();
    follower.wrote();
    await hashing;
    follower.stop();
    await withDeadline(follower.finish(), 'the follower to end');
    expect(errors).toEqual([]);
  });
});

describe('a part that grows', () => {
  it('is hashed as it grows, although it was empty when it began', async () => {
    const hashed: number[] = [];
    const part: Pick<BlobPart, 'hashTo' | 'note'> = {
      hashTo: (end) => {
        hashed.push(end);
        return Promise.resolve();
      },
      note: () => Promise.resolve(),
    };
    const written = new Extents();
    const follower = new PartFollower(part, written, () => undefined);
    follower.wrote();
    for (const end of [GIB, 2 * GIB]) {
      written.add({ start: 0, end });
      follower.wrote();
      // What was begun before is over by the next turn of the event loop.
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(hashed).toEqual([GIB, 2 * GIB]);
    await follower.finish();
  });
});
