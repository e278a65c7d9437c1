import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { Clock } from '../../../src/lib/clock.ts';
import { deferred } from '../../../src/lib/promises.ts';
import { digestOf, type Digest } from '../../../src/oci/digest.ts';
import type { ContentRepair } from '../../../src/operations/verify/repair.ts';
import { ScrubSchedule } from '../../../src/operations/verify/schedule.ts';
import type { BlobStore, Bookmark } from '../../../src/store/blobs.ts';
import { unwatchedRun } from '../../support/operation-run.ts';
import { tellNobody } from '../../support/told.ts';
import { turns } from '../../support/turns.ts';

const YEAR_MS = 365 * 24 * 3_600_000;
const DIGEST = digestOf(Buffer.from('blob'));

/** A schedule for one sound blob. Its clock goes on when something sleeps, a turn of the event loop each time. */
function openSchedule() {
  const world = {
    nowMs: 0,
    isIdle: true,
    fillsRunning: 0,
    bookmark: undefined as Bookmark | undefined,
    checked: [] as Digest[],
    onCheck: () => Promise.resolve(),
  };
  const clock: Clock = {
    now: () => world.nowMs,
    sleep: async (ms, signal) => {
      await turn();
      signal.throwIfAborted();
      world.nowMs += ms;
    },
  };
  const schedule = new ScrubSchedule({
    audit: {
      list: async function* ({ after }) {
        if (after === undefined) yield { digest: DIGEST, size: 1 };
      },
      check: async (digest) => {
        world.checked.push(digest);
        await world.onCheck();
        return 'sound';
      },
    },
    manifests: {
      listManifests: () => [],
      deleteManifest: () => Promise.resolve(),
      manifestTotals: () => ({ manifests: 0, bytes: 0 }),
    },
    bookmarks: {
      getBookmark: () => world.bookmark,
      putBookmark: async (_, bookmark) => void (world.bookmark = bookmark),
    },
    blobs: { totals: () => ({ blobs: 1, bytes: 1 }) } as unknown as BlobStore,
    repair: {
      get fillsRunning() {
        return world.fillsRunning;
      },
    } as unknown as ContentRepair,
    clock,
    tell: tellNobody,
  });
  onTestFinished(() => schedule.close());
  const startScrub = () => schedule.startScrub({ intervalMs: YEAR_MS, isIdle: () => world.isIdle });
  return { world, schedule, startScrub };
}

describe('the scrub', () => {
  it.each([
    ['a fill runs', { fillsRunning: 1 }],
    ['two fills run', { fillsRunning: 2 }],
    ['clients wait', { isIdle: false }],
  ])('waits while %s', async (_, busy) => {
    const { world, startScrub } = openSchedule();
    Object.assign(world, busy);
    startScrub();
    await turns(100);
    expect(world.nowMs).toBeGreaterThan(60_000);
    expect(world.checked).toEqual([]);
    Object.assign(world, { isIdle: true, fillsRunning: 0 });
    await turns(100);
    expect(world.checked).toEqual([DIGEST]);
  });

  it('waits while a verification runs', async () => {
    const { world, schedule, startScrub } = openSchedule();
    const gate = deferred<void>();
    onTestFinished(() => gate.resolve());
    world.onCheck = () => gate.promise;
    const verified = schedule.verify({ repair: false }, unwatchedRun());
    startScrub();
    await turns(100);
    expect(world.nowMs).toBeGreaterThan(60_000);
    expect(world.checked).toEqual([DIGEST]);
    gate.resolve();
    expect(await verified).toMatchObject({ blobs: 1, problems: 0 });
    await turns(100);
    expect(world.checked).toEqual([DIGEST, DIGEST]);
  });
});
