import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { Clock } from '../../../src/lib/clock.ts';
import { digestOf, type Digest } from '../../../src/oci/digest.ts';
import type { Finding } from '../../../src/operations/protocol.ts';
import type { ContentRepair } from '../../../src/operations/verify/repair.ts';
import { Scrubber, type ScrubberOptions } from '../../../src/operations/verify/scrub.ts';
import {
  type BlobAudit,
  type BlobState,
  BlobStoreError,
  type BlobStore,
  type Bookmark,
  type Bookmarks,
} from '../../../src/store/blobs.ts';
import { tellTo } from '../../support/told.ts';
import { eventually } from '../../support/wait.ts';

const MIB = 1024 * 1024;
const HOUR_MS = 3_600_000;
const DIGESTS = Array.from({ length: 5 }, (_, index) => digestOf(Buffer.from(String(index)))).sort();

interface World {
  readonly checked: Digest[];
  readonly removed: Digest[];
  readonly findings: Finding[];
  readonly errors: unknown[];
  readonly bookmarks: Bookmarks & { readonly marks: Map<string, Bookmark> };
  /** Ms of the clock, which goes on only while the scrubber sleeps, and no further than to `endMs`. */
  nowMs: number;
  endMs: number;
  isIdle: boolean;
  failure: Error | undefined;
  states: Map<Digest, BlobState>;
}

/** Blobs of 16 MiB each, none of which is there. */
function emptyWorld(): World {
  const marks = new Map<string, Bookmark>();
  return {
    checked: [],
    removed: [],
    findings: [],
    errors: [],
    nowMs: 0,
    endMs: Infinity,
    isIdle: true,
    failure: undefined,
    states: new Map(),
    bookmarks: {
      marks,
      getBookmark: (name) => marks.get(name),
      putBookmark: async (name, mark) => {
        marks.set(name, mark);
      },
    },
  };
}

function clockOf(world: World): Clock {
  return {
    now: () => world.nowMs,
    sleep: async (ms, signal) => {
      await turn();
      while (world.nowMs + ms > world.endMs) {
        signal.throwIfAborted();
        await turn();
      }
      world.nowMs += ms;
    },
  };
}

function scrub(world: World): Scrubber {
  const audit: BlobAudit = {
    list: async function* ({ after = '' }) {
      for (const digest of DIGESTS) if (digest > after) yield { digest, size: 16 * MIB };
    },
    check: async (digest, { onBytes }) => {
      if (world.failure !== undefined) throw world.failure;
      world.checked.push(digest);
      for (let piece = 0; piece < 4; piece++) await onBytes?.(4 * MIB);
      return world.states.get(digest) ?? 'sound';
    },
  };
  const blobs = { remove: async (digest: Digest) => void world.removed.push(digest) } as unknown as BlobStore;
  const repair = {
    blob: async () => ({}),
    whereabouts: async () => ({ repositories: [], images: [] }),
  } as unknown as ContentRepair;
  const options: ScrubberOptions = {
    audit,
    blobs,
    repair,
    bookmarks: world.bookmarks,
    intervalMs: HOUR_MS,
    isIdle: () => world.isIdle,
    clock: clockOf(world),
    onFinding: (finding) => world.findings.push(finding),
    tell: tellTo({ fault: ({ error }) => world.errors.push(error) }),
  };
  const scrubber = new Scrubber(options);
  onTestFinished(() => scrubber.close());
  return scrubber;
}

describe('a scrub', () => {
  it('goes through everything once in an interval, and begins at once where there never was one', async () => {
    const that = emptyWorld();
    that.endMs = 2.5 * HOUR_MS;
    scrub(that);
    await eventually(() => that.checked.length === 15, 'three walks');
    expect(that.checked).toEqual([...DIGESTS, ...DIGESTS, ...DIGESTS]);
    expect(that.bookmarks.marks.get('scrub')).toMatchObject({ startedAt: 2 * HOUR_MS + 2000, isDone: true });
  });

  it('reads no more than 16 MiB a second', async () => {
    const that = emptyWorld();
    that.endMs = HOUR_MS - 1;
    scrub(that);
    await eventually(() => that.bookmarks.marks.get('scrub')?.isDone, 'the walk');
    expect(that.nowMs).toBeGreaterThanOrEqual(5000);
  });

  it('goes on where it was when the server is started again', async () => {
    const that = emptyWorld();
    that.endMs = 3000;
    const first = scrub(that);
    await eventually(() => that.nowMs === that.endMs && that.checked.length, 'the middle of a walk');
    await first.close();
    const done = that.checked.slice(0, -1);
    that.checked.length = 0;
    that.endMs = HOUR_MS - 1;
    scrub(that);
    await eventually(() => that.bookmarks.marks.get('scrub')?.isDone, 'the rest of the walk');
    expect([...done, ...that.checked]).toEqual(DIGESTS);
  });

  it('stays away while there is something to do', async () => {
    const that = emptyWorld();
    that.isIdle = false;
    that.endMs = HOUR_MS / 2;
    scrub(that);
    await eventually(() => that.nowMs === that.endMs, 'half an hour to pass');
    expect(that.checked).toEqual([]);
    that.isIdle = true;
    that.endMs = HOUR_MS - 1;
    await eventually(() => that.bookmarks.marks.get('scrub')?.isDone, 'the walk');
  });

  it('removes and fetches anew what is wrong, but keeps what a failing disk cannot read', async () => {
    const that = emptyWorld();
    const [corrupt, short, missing, unreadable, adopted] = DIGESTS;
    that.endMs = HOUR_MS - 1;
    that.states = new Map(
      [
        [corrupt, 'corrupt'],
        [short, 'short'],
        [missing, 'missing'],
        [unreadable, 'unreadable'],
        [adopted, 'adopted'],
      ].map((entry) => entry as [Digest, BlobState]),
    );
    scrub(that);
    await eventually(() => that.bookmarks.marks.get('scrub')?.isDone, 'the walk');
    expect(that.removed).toEqual([corrupt, short, missing]);
    expect(that.findings.map(({ problem, outcome }) => [problem, outcome])).toEqual([
      ['corrupt', 'repaired'],
      ['short', 'repaired'],
      ['missing', 'repaired'],
      ['unreadable', 'found'],
    ]);
  });

  it('survives a disk that fails, and tries again later', async () => {
    const that = emptyWorld();
    that.failure = new BlobStoreError('disk-failed', 'the disk is gone');
    that.endMs = 10 * 60_000 + 2000;
    scrub(that);
    await eventually(() => that.nowMs === that.endMs, 'ten minutes to pass');
    expect(that.errors).toContain(that.failure);
    that.failure = undefined;
    that.endMs = HOUR_MS - 1;
    await eventually(() => that.bookmarks.marks.get('scrub')?.isDone, 'the walk');
    expect(that.checked).toEqual(DIGESTS);
  });

  it('is not put off by a clock that was set back', async () => {
    const that = emptyWorld();
    that.bookmarks.marks.set('scrub', { startedAt: 1000 * HOUR_MS, isDone: true });
    that.endMs = 1.5 * HOUR_MS;
    scrub(that);
    await eventually(() => that.checked.length === 5, 'the next walk');
  });
});
