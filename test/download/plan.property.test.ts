import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Demand } from '../../src/download/plan.ts';
import { FillModel } from '../support/fill-model.ts';
import { pulled, type Link, type Puller } from '../support/fill-pullers.ts';
import { fuzz, FUZZ_TIMEOUT_MS } from '../support/fuzz.ts';

const SIZE = 200;
const LIMITS = { maxStreams: 4, minGapBytes: 10 };

type Action =
  | { readonly start: number; readonly read: number; readonly bytes: number }
  | { readonly leave: number }
  | { readonly stream: number; readonly bytes: number };
const actions = fc.array(
  fc.oneof(
    fc.record({ start: fc.nat(SIZE), read: fc.nat(SIZE), bytes: fc.integer({ min: 1, max: SIZE }) }),
    fc.record({ leave: fc.nat(20) }),
    fc.record({ stream: fc.nat(3), bytes: fc.integer({ min: 1, max: 60 }) }),
  ) as fc.Arbitrary<Action>,
  { maxLength: 60 },
);

/** Streams advance by chance; readers come, wait and go by chance. */
function played(script: readonly Action[]): FillModel {
  const model = new FillModel(SIZE, LIMITS);
  for (const action of script) {
    model.now++;
    if ('leave' in action) {
      const demands = [...model.demands];
      model.demands.delete(demands[action.leave % demands.length] as Demand);
    } else if ('read' in action) {
      const start = Math.min(action.start, SIZE - 1);
      const position = Math.min(SIZE - 1, start + action.read);
      const end = Math.min(SIZE, position + action.bytes);
      const isThere = model.written.coveredTo(position) > position;
      const demand = { start, position, end, waitsSince: isThere ? undefined : model.now };
      model.demands.add(demand);
      if (!isThere) model.want(demand);
    } else {
      advance(model, action.stream, action.bytes);
    }
  }
  return model;
}

function advance(model: FillModel, index: number, bytes: number): number {
  const stream = [...model.streams][index % model.streams.size];
  return stream === undefined ? 0 : model.receive(stream, bytes);
}

describe('the segments of a fill', () => {
  it('fetch every byte exactly once, wherever readers begin, and end', () => {
    fc.assert(
      fc.property(actions, (script) => {
        const model = played(script);
        for (let turn = 0; model.streams.size > 0; turn++) {
          expect(turn).toBeLessThan(10 * SIZE);
          advance(model, turn, 7);
        }
        expect(model.written.list).toEqual([{ start: 0, end: SIZE }]);
        expect(model.receivedBytes).toBe(SIZE);
      }),
    );
  });

  it('are as many as there are places that are waited for, up to the most that there may be', () => {
    fc.assert(
      fc.property(actions, (script) => {
        const model = played(script);
        for (const demand of model.demands) if (demand.waitsSince !== undefined) model.want(demand);
        for (const { position, end, waitsSince } of model.demands) {
          if (waitsSince === undefined || model.written.coveredTo(position) > position || position >= end)
            continue;
          const isNear = [...model.streams].some(
            (stream) => stream.start <= position && position - stream.position < LIMITS.minGapBytes,
          );
          expect(isNear || model.streams.size === LIMITS.maxStreams).toBe(true);
        }
      }),
    );
  });
});

/** How long it takes a client to get the same from upstream itself, at its places. */
function directTicks(size: number, client: Puller, { latency, eachBytes }: Link): number {
  const pieces = Math.min(client.leavesAfter, Math.ceil(size / client.chunk));
  const bytes = Math.min(client.chunk, size);
  return (
    Math.ceil(pieces / client.places) * (latency + bytes / Math.min(eachBytes, client.pace) + client.thinks)
  );
}

/** In pieces of 64 KiB and ticks of 10 ms: 6 to 25 MB/s by connection, of which 256 KiB are in flight. */
const SCALED = { maxStreams: 16, minGapBytes: 16 };
const IN_FLIGHT = 4;
const MIB = 16;

const order = fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 1000 }));
const pullers = (chunks: readonly number[], most: { clients: number; places: number }) =>
  fc.array(
    fc.record<Puller>({
      joins: fc.nat(600),
      places: fc.integer({ min: 1, max: most.places }),
      chunk: fc.constantFrom(...chunks),
      isOpenEnded: fc.boolean(),
      thinks: fc.nat(20),
      pace: fc.constantFrom(1, 4, 64),
      shuffle: order,
      leavesAfter: fc.oneof(fc.constant(Infinity), fc.nat(30)),
    }),
    { minLength: 1, maxLength: most.clients },
  );
const sizes = fc.integer({ min: 20 * MIB, max: 200 * MIB });
const link = (latencies: number, all: readonly number[]): fc.Arbitrary<Link> =>
  fc.record({
    latency: fc.nat(latencies),
    eachBytes: fc.constantFrom(1, 2, 4),
    allBytes: fc.constantFrom(...all),
    inFlightBytes: fc.constant(IN_FLIGHT),
  });

describe('clients that read one blob at many places at a time', () => {
  it(
    'cost upstream little more than the blob, however they come, hang up, think and go',
    () => {
      const chunks = [8, 16, 32, 50, 64, 128, 256, 1000, 4000];
      fc.assert(
        fc.property(
          sizes,
          pullers(chunks, { clients: 10, places: 16 }),
          link(15, [2, 8, 16, Infinity]),
          (size, clients, upstream) => {
            const { sentBytes } = pulled(size, clients, upstream, SCALED);
            expect(sentBytes / size).toBeLessThanOrEqual(1.1);
          },
        ),
        fuzz(100),
      );
    },
    FUZZ_TIMEOUT_MS,
  );

  it(
    'are none of them slower than alone, as long as there is a connection for each place',
    () => {
      const chunks = [32, 50, 64, 128, 256, 1000, 4000];
      fc.assert(
        fc.property(
          sizes,
          pullers(chunks, { clients: 4, places: 4 }),
          link(5, [Infinity]),
          (size, clients, upstream) => {
            const { ticks } = pulled(size, clients, upstream, SCALED);
            for (const [index, client] of clients.entries()) {
              const alone = pulled(size, [{ ...client, joins: 0 }], upstream, SCALED).ticks[0] ?? 0;
              // Who jumps about alone may find bytes by luck that the fill has gone on with.
              const fair = Math.max(alone, directTicks(size, client, upstream));
              // Half a second is what a request and the way to a byte that is near take.
              expect(ticks[index]).toBeLessThanOrEqual(1.1 * fair + 50);
            }
          },
        ),
        fuzz(100),
      );
    },
    FUZZ_TIMEOUT_MS,
  );

  it.each([
    { clients: 1, places: 8 },
    { clients: 4, places: 8 },
    { clients: 10, places: 8 },
    { clients: 1, places: 16 },
  ])('as $clients of containerd at $places: as fast as from upstream, in as many requests', (herd) => {
    const [size, chunk, latency] = [200 * MIB, 4 * MIB, 10];
    const client = {
      joins: 0,
      places: herd.places,
      chunk,
      pace: 64,
      thinks: 1,
      shuffle: 0,
      leavesAfter: Infinity,
    };
    for (const isOpenEnded of [true, false]) {
      const clients = Array.from({ length: herd.clients }, () => ({ ...client, isOpenEnded }));
      const upstream = { latency, eachBytes: 1, allBytes: Infinity, inFlightBytes: IN_FLIGHT };
      const { sentBytes, requests, ticks } = pulled(size, clients, upstream, SCALED);
      expect(sentBytes / size).toBeLessThanOrEqual(1.01);
      expect(requests).toBe(size / chunk);
      const rounds = Math.ceil(size / chunk / herd.places);
      for (const each of ticks) expect(each).toBeLessThanOrEqual(1.1 * rounds * (latency + chunk));
    }
  });
});
