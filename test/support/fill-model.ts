import { expect } from 'vitest';
import { Extents } from '../../src/lib/extents.ts';
import {
  limitOf,
  nextOpening,
  openingFor,
  type Demand,
  type FillState,
  type Opening,
  type SegmentLimits,
  type Stream,
} from '../../src/download/plan.ts';

/** One request to an upstream that sends at a given pace, `latency` ticks after it was asked. */
export interface ModelStream extends Stream {
  position: number;
  answersAt: number;
}

/** A fill without a network or a disk: what streams receive is written at once. Times are in ticks. */
export class FillModel {
  readonly written = new Extents();
  readonly streams = new Set<ModelStream>();
  readonly demands = new Set<Demand>();
  readonly size: number;
  readonly #limits: SegmentLimits;
  readonly #latency: number;
  now = 0;
  pieceBytes = Infinity;
  opened = 0;
  receivedBytes = 0;
  /** What was asked for and did not come, of each stream that was ended before. */
  readonly cuts: number[] = [];

  constructor(size: number, limits: SegmentLimits, latency = 0) {
    this.size = size;
    this.#limits = limits;
    this.#latency = latency;
    this.#open({ start: 0, end: size, pieceBytes: Infinity });
  }

  get state(): FillState<ModelStream> {
    const { size, written, streams, demands, pieceBytes } = this;
    return { size, written, streams: [...streams], demands: [...demands], pieceBytes };
  }

  /** As a reader does that has no byte to read. */
  want(demand: Demand): void {
    const opening = openingFor(demand, this.state, this.#limits);
    if (opening !== undefined) this.#open(opening);
  }

  /** Gives the stream its next bytes; how many of them it took. */
  receive(stream: ModelStream, bytes: number): number {
    if (!this.streams.has(stream) || this.now < stream.answersAt) return 0;
    const start = stream.position;
    const end = Math.min(limitOf(stream, this.state), start + bytes);
    this.written.add({ start, end });
    stream.position = end;
    this.receivedBytes += end - start;
    if (end === limitOf(stream, this.state)) this.#end(stream);
    return end - start;
  }

  #end(stream: ModelStream): void {
    this.streams.delete(stream);
    if (stream.position < stream.end) this.cuts.push(stream.end - stream.position);
    const next = nextOpening(this.state, this.#limits);
    if (next !== undefined) this.#open(next);
  }

  #open({ start, end, pieceBytes, instead }: Opening<ModelStream>): void {
    this.pieceBytes = pieceBytes;
    if (instead !== undefined) {
      this.streams.delete(instead);
      this.cuts.push(instead.end - instead.position);
    }
    // Nothing is asked for that is there or comes.
    expect(end).toBeGreaterThan(start);
    expect(this.written.coveredTo(start)).toBe(start);
    expect(this.written.nextStart(start) ?? this.size).toBeGreaterThanOrEqual(end);
    this.opened++;
    this.streams.add({ start, position: start, end, answersAt: this.now + this.#latency });
    expect(this.streams.size).toBeLessThanOrEqual(this.#limits.maxStreams);
  }
}
