import type { Demand, SegmentLimits } from '../../src/download/plan.ts';
import { FillModel } from './fill-model.ts';

/** A client that reads a blob at several places at a time, piece by piece, in any order. Times are in ticks. */
export interface Puller {
  readonly joins: number;
  readonly places: number;
  readonly chunk: number;
  /** It asks for ranges without an end, and hangs up. */
  readonly isOpenEnded: boolean;
  /** What it does between two pieces. */
  readonly thinks: number;
  /** What it can take in one tick at each place. */
  readonly pace: number;
  /** In which order it reads its pieces; sequential if it is 0. */
  readonly shuffle: number;
  /** How many of its pieces it reads before it goes away. */
  readonly leavesAfter: number;
}

export interface Link {
  /** In ticks from the request to the first byte. */
  readonly latency: number;
  /** What one connection gets in one tick, and all of them together. */
  readonly eachBytes: number;
  readonly allBytes: number;
  /** What is on its way when a connection is ended. */
  readonly inFlightBytes: number;
}

interface Place {
  demand: (Demand & { position: number; waitsSince: number | undefined }) | undefined;
  chunkEnd: number;
  /** Until when it thinks. */
  idleUntil: number;
}

/** One client under way. */
class Running {
  readonly places: Place[];
  readonly #puller: Puller;
  readonly #model: FillModel;
  readonly #chunks: number[];
  doneAt: number | undefined;

  constructor(puller: Puller, model: FillModel) {
    this.#puller = puller;
    this.#model = model;
    const count = Math.ceil(model.size / puller.chunk);
    this.#chunks = shuffled(
      Array.from({ length: count }, (_, index) => index * puller.chunk),
      puller.shuffle,
    ).slice(0, puller.leavesAfter);
    this.places = Array.from({ length: puller.places }, () => ({
      demand: undefined,
      chunkEnd: 0,
      idleUntil: puller.joins,
    }));
  }

  get isDone(): boolean {
    return this.doneAt !== undefined;
  }

  tick(): void {
    if (this.isDone) return;
    for (const place of this.places) this.#step(place);
    if (this.#chunks.length > 0 || this.places.some(({ demand }) => demand !== undefined)) return;
    this.doneAt = this.#model.now;
  }

  #step(place: Place): void {
    const { chunk, isOpenEnded, pace, thinks } = this.#puller;
    const { now, size, written, demands } = this.#model;
    if (place.demand === undefined) {
      const start = now < place.idleUntil ? undefined : this.#chunks.shift();
      if (start === undefined) return;
      place.chunkEnd = Math.min(size, start + chunk);
      place.demand = {
        start,
        position: start,
        end: isOpenEnded ? size : place.chunkEnd,
        waitsSince: undefined,
      };
      demands.add(place.demand);
    }
    const { demand } = place;
    const end = Math.min(place.chunkEnd, written.coveredTo(demand.position), demand.position + pace);
    if (end > demand.position) {
      demand.waitsSince = undefined;
      demand.position = end;
    }
    if (demand.position === place.chunkEnd) {
      demands.delete(demand);
      place.demand = undefined;
      place.idleUntil = now + thinks;
    } else if (written.coveredTo(demand.position) === demand.position) {
      demand.waitsSince ??= now;
      this.#model.want(demand);
    }
  }
}

export interface Outcome {
  /** What upstream sent, the bytes in flight included. */
  readonly sentBytes: number;
  readonly requests: number;
  /** By client, from its first request to its last byte. */
  readonly ticks: readonly number[];
}

/** Pulls a blob until all clients have what they came for, and the fill is over. */
export function pulled(size: number, pullers: readonly Puller[], link: Link, limits: SegmentLimits): Outcome {
  const model = new FillModel(size, limits, link.latency);
  const clients = pullers.map((puller) => new Running(puller, model));
  for (; !clients.every(({ isDone }) => isDone) || model.streams.size > 0; model.now++) {
    if (model.now > 100_000) throw new Error('a client waits for ever');
    for (const client of clients) client.tick();
    let left = link.allBytes;
    // The bytes of a tick are shared by those that may have some, whoever came first.
    const streams = [...model.streams].filter(({ answersAt }) => answersAt <= model.now);
    for (const [index, stream] of streams.entries()) {
      const share = Math.min(link.eachBytes, Math.ceil(left / (streams.length - index)));
      const bytes = model.receive(stream, share);
      left -= bytes;
    }
  }
  const lostBytes = model.cuts.reduce((sum, rest) => sum + Math.min(rest, link.inFlightBytes), 0);
  return {
    sentBytes: model.receivedBytes + lostBytes,
    requests: model.opened,
    ticks: clients.map(({ doneAt }, index) => (doneAt ?? Infinity) - (pullers[index]?.joins ?? 0)),
  };
}

function shuffled(list: readonly number[], seed: number): number[] {
  if (seed === 0) return [...list];
  const rank = (value: number): number => Math.imul(value + seed, 0x9e3779b1) >>> 0;
  return [...list].sort((one, other) => rank(one) - rank(other));
}
