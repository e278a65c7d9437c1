import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { OpenBlob } from '../../../src/download/source.ts';
import { Fill } from '../../../src/mirror/blob/fill.ts';
import { Fills } from '../../../src/mirror/blob/fills.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import type { BlobStore } from '../../../src/store/blobs.ts';
import { fuzz, FUZZ_TIMEOUT_MS } from '../../support/fuzz.ts';
import { numberedBytes, pacedStream } from '../../support/paced-stream.ts';
import { openTestSpace } from '../../support/space.ts';
import { tellNobody } from '../../support/told.ts';
import { turns } from '../../support/turns.ts';
import { withDeadline } from '../../support/wait.ts';

const KIB = 1024;
const SIZE = 12 * KIB * KIB + 4321;
const CONTENT = numberedBytes(SIZE);
const DIGEST = digestOf(CONTENT);
const REPOSITORY = { host: 'docker.io', name: 'library/any' };
const LIMITS = { maxStreams: 8, minGapBytes: 512 * KIB };

/** Times are in turns of the event loop. */
interface Client {
  readonly joins: number;
  readonly places: number;
  readonly chunk: number;
  readonly isOpenEnded: boolean;
  readonly thinks: number;
  /** How long it takes for what it reads at a time. */
  readonly pace: number;
  readonly isBackwards: boolean;
  readonly leavesAfter: number;
}

const clients = fc.array(
  fc.record<Client>({
    joins: fc.nat(300),
    places: fc.integer({ min: 1, max: 8 }),
    chunk: fc.constantFrom(256 * KIB, 1000 * KIB, 2048 * KIB, SIZE),
    isOpenEnded: fc.boolean(),
    thinks: fc.nat(20),
    pace: fc.nat(10),
    isBackwards: fc.boolean(),
    leavesAfter: fc.oneof(fc.constant(Infinity), fc.nat(12)),
  }),
  { minLength: 1, maxLength: 5 },
);
const upstreams = fc.record({
  latency: fc.nat(30),
  chunk: fc.integer({ min: 8 * KIB, max: 32 * KIB }),
});

/** Sends so much in each turn, and counts it. */
function upstreamOf({ latency, chunk }: { latency: number; chunk: number }) {
  const sent = { bytes: 0 };
  const open: OpenBlob = async (offset, end = SIZE) => {
    await turns(latency);
    const onSent = (bytes: number) => (sent.bytes += bytes);
    return { kind: 'ok', value: pacedStream(CONTENT, { offset, end, nextPiece: () => chunk, onSent }) };
  };
  return { open, sent };
}

function startFill(blobs: BlobStore, open: OpenBlob): Fill {
  const fills = new Fills({ blobs, maxFills: 1, segmentLimits: LIMITS, tell: tellNobody });
  const fill = new Fill(
    { repository: REPOSITORY, digest: DIGEST, link: { by: 'manifest', size: SIZE }, open },
    fills,
  );
  fill.start();
  return fill;
}

/** Reads its pieces at all of its places, and hangs up after each; a piece of a fill that is over is on the disk. */
async function pull(fill: Fill, client: Client): Promise<void> {
  await turns(client.joins);
  const starts = Array.from({ length: Math.ceil(SIZE / client.chunk) }, (_, index) => index * client.chunk);
  if (client.isBackwards) starts.reverse();
  const wanted = starts.slice(0, client.leavesAfter);
  const place = async (): Promise<void> => {
    const buffer = Buffer.alloc(64 * KIB);
    for (let start = wanted.shift(); start !== undefined && !fill.isOver; start = wanted.shift()) {
      const end = Math.min(SIZE, start + client.chunk);
      const body = fill.join('collapsed', 'client');
      const section = body.section({ start, end: client.isOpenEnded ? SIZE : end });
      for (let at = start; at < end;) {
        for (const bytes of await section.read(buffer)) {
          expect(bytes.equals(CONTENT.subarray(at, at + bytes.length))).toBe(true);
          at += bytes.length;
        }
        await turns(client.pace);
      }
      body.close();
      await turns(client.thinks);
    }
  };
  await fill.started;
  await Promise.all(Array.from({ length: client.places }, place));
}

describe('a fill that is read at many places at a time', () => {
  it(
    'gives every reader its bytes, and asks upstream for little more than the blob',
    async () => {
      const space = await openTestSpace({ blobLimit: 100 * SIZE });
      const blobs = await space.openBlobs();
      try {
        await fc.assert(
          fc.asyncProperty(clients, upstreams, async (herd, paces) => {
            const { open, sent } = upstreamOf(paces);
            const fill = startFill(blobs, open);
            const pulls = Promise.all(herd.map((client) => pull(fill, client)));
            await withDeadline(pulls, 'all readers to have their bytes', 60_000);
            expect(await withDeadline(fill.ended, 'the fill to end', 60_000)).toMatchObject({ bytes: SIZE });
            await blobs.remove(DIGEST);
            expect(sent.bytes / SIZE).toBeLessThanOrEqual(1.1);
          }),
          { ...fuzz(25), endOnFailure: true },
        );
      } finally {
        await blobs.close();
      }
    },
    FUZZ_TIMEOUT_MS,
  );
});
