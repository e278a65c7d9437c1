import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BlobBodyError } from '../../../src/download/errors.ts';
import type { OpenBlob } from '../../../src/download/source.ts';
import type { BlobBody } from '../../../src/mirror/answer/answers.ts';
import { Fill, type FillEnd } from '../../../src/mirror/blob/fill.ts';
import { Fills } from '../../../src/mirror/blob/fills.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { BlobStoreError, type BlobPart, type BlobStore } from '../../../src/store/blobs.ts';
import { fuzz, FUZZ_TIMEOUT_MS } from '../../support/fuzz.ts';
import { numberedBytes, pacedStream } from '../../support/paced-stream.ts';
import { openTestSpace } from '../../support/space.ts';
import { tellNobody } from '../../support/told.ts';
import { turns } from '../../support/turns.ts';
import { withDeadline } from '../../support/wait.ts';

const SIZE = 700_000;
const CONTENT = numberedBytes(SIZE);
const DIGEST = digestOf(CONTENT);
const REPOSITORY = { host: 'docker.io', name: 'library/any' };
/** Segments that are launched without a turn of the event loop could be ended by no deadline. */
const MAX_LAUNCHES = 100_000;

/** Times are in turns of the event loop. */
interface Reading {
  readonly start: number;
  /** Of a blob that ends before, its rest. */
  readonly length: number;
  readonly isWhole: boolean;
  readonly begins: number;
  /** How long its client takes for each piece. */
  readonly pauses: readonly number[];
  readonly bufferBytes: number;
  /** It leaves when it has got so many bytes. */
  readonly leavesAt: number;
}

interface Script {
  readonly readings: readonly Reading[];
  /** What upstream sends in one turn. */
  readonly chunks: readonly number[];
  readonly answers: readonly number[];
  /** How long the disk takes for each write. */
  readonly writes: readonly number[];
  /** The write that fails. */
  readonly failsAt: number;
  /** Which answers of upstream have a wrong byte, and where. */
  readonly lies: readonly { readonly answer: number; readonly at: number }[];
  /** When the fill has to make way for another one, and for how long, and when it is ended. */
  readonly pausesAt: number;
  readonly stopsAt: number;
}

const never = fc.constant(Infinity);
const rarely = (arbitrary: fc.Arbitrary<number>): fc.Arbitrary<number> =>
  fc.oneof({ weight: 3, arbitrary: never }, { weight: 1, arbitrary });
const turnCounts = (max: number): fc.Arbitrary<number[]> =>
  fc.array(fc.nat({ max }), { minLength: 1, maxLength: 5 });

const reading: fc.Arbitrary<Reading> = fc.record({
  start: fc.nat({ max: SIZE - 1 }),
  length: fc.integer({ min: 1, max: SIZE }),
  isWhole: fc.integer({ min: 0, max: 2 }).map((kind) => kind === 0),
  begins: fc.nat({ max: 60 }),
  pauses: turnCounts(20),
  bufferBytes: fc.constantFrom(10_000, 64 * 1024, 256 * 1024),
  leavesAt: rarely(fc.nat({ max: SIZE })),
});
const script: fc.Arbitrary<Script> = fc.record({
  readings: fc.array(reading, { minLength: 1, maxLength: 12 }),
  chunks: fc.array(fc.integer({ min: 1000, max: 64 * 1024 }), { minLength: 1, maxLength: 5 }),
  answers: turnCounts(10),
  writes: fc.oneof(turnCounts(10), turnCounts(400)),
  failsAt: rarely(fc.nat({ max: 10 })),
  lies: fc.oneof(
    { weight: 3, arbitrary: fc.constant([]) },
    {
      weight: 1,
      arbitrary: fc.array(fc.record({ answer: fc.nat({ max: 4 }), at: fc.nat({ max: SIZE - 1 }) })),
    },
  ),
  pausesAt: rarely(fc.nat({ max: 60 })),
  stopsAt: rarely(fc.nat({ max: 100 })),
});

function nth(list: readonly number[], index: number): number {
  return list[index % list.length] ?? 0;
}

function upstreamOf({ chunks, answers, lies }: Script): OpenBlob {
  let opened = 0;
  return async (offset, end = SIZE) => {
    const answer = opened++;
    await turns(nth(answers, answer));
    const bytes = Buffer.from(CONTENT);
    for (const lie of lies) if (lie.answer === answer) bytes.writeUInt8(bytes.readUInt8(lie.at) ^ 1, lie.at);
    let sent = 0;
    const nextPiece = () => nth(chunks, sent++);
    return { kind: 'ok', value: pacedStream(bytes, { offset, end, nextPiece }) };
  };
}

/** A part on a disk that is slow, and may fail. */
function onSlowDisk(part: BlobPart, { writes, failsAt }: Script): BlobPart {
  let written = 0;
  const write: BlobPart['write'] = async (chunks, position) => {
    const index = written++;
    await turns(nth(writes, index));
    if (index === failsAt) throw new BlobStoreError('disk-failed', 'EIO');
    await part.write(chunks, position);
  };
  return new Proxy(part, {
    get: (_target, name) => {
      if (name === 'write') return write;
      const value: unknown = Reflect.get(part, name);
      return typeof value === 'function' ? (value.bind(part) as unknown) : value;
    },
  });
}

interface Got {
  readonly start: number;
  readonly end: number;
  readonly isWhole: boolean;
  readonly hasLeft: boolean;
  readonly bytes: Buffer;
  readonly error?: unknown;
}

/** Reads as an answer is sent: the next piece is read while the one before is on its way. */
async function read(body: BlobBody, wanted: Reading): Promise<Got> {
  const { isWhole, pauses, bufferBytes, leavesAt } = wanted;
  const start = isWhole ? 0 : wanted.start;
  const end = isWhole ? SIZE : Math.min(SIZE, start + wanted.length);
  const hasLeft = leavesAt < Infinity;
  const got: Buffer[] = [];
  const gotBytes = (): number => got.reduce((sum, { length }) => sum + length, 0);
  try {
    const section = body.section({ start, end });
    let [next, other] = [Buffer.alloc(bufferBytes), Buffer.alloc(bufferBytes)];
    let sending = Promise.resolve();
    for (let piece = 0; ; piece++) {
      const chunks = await section.read(next);
      await sending;
      if (gotBytes() >= leavesAt) throw new Error('has left');
      if (chunks.length === 0) break;
      expect(chunks.every(({ length }) => length > 0)).toBe(true);
      sending = turns(nth(pauses, piece)).then(
        () => void got.push(...chunks.map((chunk) => Buffer.from(chunk))),
      );
      [next, other] = [other, next];
    }
    return { start, end, isWhole, hasLeft, bytes: Buffer.concat(got) };
  } catch (error) {
    return { start, end, isWhole, hasLeft, bytes: Buffer.concat(got), error };
  } finally {
    body.close();
  }
}

/** A registry with a single slot. */
function fillsOn(blobs: BlobStore, what: Script): Fills {
  let asked = 0;
  return new Fills({
    blobs: {
      keptPart: (digest) => blobs.keptPart(digest),
      createPart: async (digest, size) => onSlowDisk(await blobs.createPart(digest, size), what),
    },
    maxFills: 1,
    segmentLimits: {
      minGapBytes: 64 * 1024,
      get maxStreams() {
        if (++asked > MAX_LAUNCHES) throw new Error('segments are launched without end');
        return 3;
      },
    },
    tell: tellNobody,
  });
}

async function play(blobs: BlobStore, what: Script): Promise<{ got: Got[]; end: FillEnd }> {
  const fills = fillsOn(blobs, what);
  const link = { by: 'manifest', size: SIZE } as const;
  const fill = new Fill({ repository: REPOSITORY, digest: DIGEST, link, open: upstreamOf(what) }, fills);
  fill.start();
  const others = async (): Promise<void> => {
    if (what.pausesAt === Infinity) return;
    await turns(what.pausesAt);
    const other = { isRead: true, pause: () => undefined };
    if (fill.isOver) return;
    fill.pause();
    await fills.enter(other);
    await turns(5);
    fills.leave(other);
  };
  const stop = async (): Promise<void> => {
    if (what.stopsAt === Infinity) return;
    await turns(what.stopsAt);
    fill.abort();
  };
  const readings = what.readings.map(async (each) => {
    await turns(each.begins);
    await fill.started.catch(() => undefined);
    return fill.isOver ? undefined : read(fill.join('collapsed', 'client'), each);
  });
  await Promise.all([others(), stop()]);
  const got = (await Promise.all(readings)).flatMap((each) => each ?? []);
  return { got, end: await fill.ended };
}

/** What has to hold whoever lies, fails or stops. */
function check({ got, end }: { got: Got[]; end: FillEnd }, what: Script): void {
  const isHonest = what.lies.length === 0;
  const isWell = isHonest && what.failsAt === Infinity && what.stopsAt === Infinity;
  if (isWell) expect(end).toMatchObject({ result: 'stored', bytes: SIZE - end.resumedBytes });
  got.forEach(({ start, end: to, isWhole, hasLeft, bytes, error }) => {
    const right = CONTENT.subarray(start, start + bytes.length);
    // Whoever takes what came for the whole blob must be right.
    if (error === undefined && (isHonest || isWhole)) expect(bytes.equals(right)).toBe(true);
    if (error === undefined) expect(bytes.length).toBe(to - start);
    if (isHonest) expect(bytes.equals(right)).toBe(true);
    if (isHonest && what.stopsAt === Infinity && !hasLeft) expect(error).toBeUndefined();
    if (error !== undefined && !hasLeft) expect(error).toBeInstanceOf(BlobBodyError);
  });
}

describe('a fill', () => {
  it(
    'gives every reader the right bytes or ends short, and stores what is right or nothing',
    async () => {
      const test = await openTestSpace({ blobLimit: 100 * SIZE });
      const blobs = await test.openBlobs();
      try {
        await fc.assert(
          fc.asyncProperty(script, async (what) => {
            const first = await withDeadline(play(blobs, what), 'all readers and the fill to end');
            check(first, what);
            const stored = await blobs.open(DIGEST);
            expect(stored !== undefined).toBe(first.end.result === 'stored');
            // What is left goes on by an upstream that is well.
            const again: Script = { ...what, lies: [], failsAt: Infinity, stopsAt: Infinity };
            if (stored === undefined && first.end.result !== 'corrupt') {
              const second = await withDeadline(play(blobs, again), 'the second fill to end');
              const isHonest = what.lies.length === 0;
              if (isHonest) check(second, again);
            }
            const whole = stored ?? (await blobs.open(DIGEST));
            const bytes = Buffer.alloc(SIZE);
            const count = (await whole?.read(bytes, SIZE, 0)) ?? 0;
            if (whole !== undefined) expect(bytes.subarray(0, count).equals(CONTENT)).toBe(true);
            await whole?.close();
            await blobs.remove(DIGEST);
          }),
          { ...fuzz(100), endOnFailure: true },
        );
      } finally {
        await blobs.close();
      }
    },
    FUZZ_TIMEOUT_MS,
  );
});
