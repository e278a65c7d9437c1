import { Extents, type Extent } from '../lib/extents.ts';
import type { KeptExtents } from '../store/blob-store.ts';

/** What a fill receives at one place. */
export interface Stream {
  /** Where it began, and the next byte that it will receive. */
  readonly start: number;
  readonly position: number;
  readonly bytesPerSecond: number;
}

/** A reader waits for the byte at `position`, and will want those after it up to `end`. */
export interface Demand {
  readonly position: number;
  readonly end: number;
}

export interface FillState<S extends Stream = Stream> {
  readonly size: number;
  readonly written: Extents;
  readonly streams: Iterable<S>;
  readonly demands: Iterable<Demand>;
}

export interface SegmentLimits {
  /** How many streams a fill may have at a time. */
  readonly maxStreams: number;
  /** A byte that is nearer to what is being received is waited for. */
  readonly minGapBytes: number;
}

/**
 * What to do for a reader at a byte that is not there yet.
 * - `wait`: it is about to come.
 * - `open`: another stream, at `at`.
 * - `move`: the same, but `stream`, which nobody reads, has to end for it.
 * - `elsewhere`: neither; the reader has to get its bytes by itself.
 */
export type Step<S extends Stream = Stream> =
  | { readonly kind: 'wait' }
  | { readonly kind: 'open'; readonly at: number }
  | { readonly kind: 'move'; readonly stream: S; readonly at: number }
  | { readonly kind: 'elsewhere' };

/** A reader waits for what will have come within this time. */
const PATIENCE_SECONDS = 1;

/** What upstream is to be asked for first of a blob of which this was kept; undefined if that is everything. */
export function firstMissing(
  kept: KeptExtents | undefined,
  knownSize: number | undefined,
): (Partial<Extent> & Pick<Extent, 'start'>) | undefined {
  const size = knownSize ?? kept?.size;
  if (size === undefined || kept?.size !== size) return { start: 0 };
  return new Extents(kept.written).gaps(size)[0];
}

/** Where `stream` has to stop: where bytes are there already, another stream began, or the blob ends. */
export function limitOf<S extends Stream>(stream: S, { size, written, streams }: FillState<S>): number {
  const { position } = stream;
  if (written.coveredTo(position) > position) return position;
  let limit = Math.min(size, written.nextStart(position) ?? size);
  for (const other of streams) {
    if (other !== stream && other.start >= position && other.start < limit) limit = other.start;
  }
  return limit;
}

export function nextStep<S extends Stream>(
  position: number,
  state: FillState<S>,
  limits: SegmentLimits,
): Step<S> {
  const streams = [...state.streams];
  const { minGapBytes, maxStreams } = limits;
  const hole = state.written.gaps(state.size).find(({ start, end }) => start <= position && position < end);
  if (
    hole === undefined ||
    streams.some((stream) => stream.start <= position && position < stream.position)
  ) {
    return { kind: 'wait' };
  }
  const feeder = streams.find((stream) => stream.position <= position && position < limitOf(stream, state));
  if (feeder !== undefined) {
    const distance = position - feeder.position;
    if (distance < minGapBytes || distance <= feeder.bytesPerSecond * PATIENCE_SECONDS) {
      return { kind: 'wait' };
    }
  }
  // A hole that nothing feeds is filled from its start unless that is far away.
  const at = feeder === undefined && position - hole.start < minGapBytes ? hole.start : position;
  if (streams.length < maxStreams) return { kind: 'open', at };
  const unread = streams.find((stream) => !isRead(stream, state));
  return unread === undefined ? { kind: 'elsewhere' } : { kind: 'move', stream: unread, at };
}

/** Where a stream that has reached its limit should go on: first where somebody waits. Undefined: nothing is left. */
export function nextHole<S extends Stream>(state: FillState<S>): number | undefined {
  const streams = [...state.streams];
  const unfed = state.written.gaps(state.size).flatMap((hole) => {
    if (streams.some(({ start, position }) => start <= hole.start && hole.start <= position)) return [];
    const begun = streams.map(({ start }) => start).filter((start) => start > hole.start);
    return [{ start: hole.start, end: Math.min(hole.end, ...begun) }];
  });
  const demands = [...state.demands];
  const waited = unfed.find(({ start, end }) =>
    demands.some(({ position }) => start <= position && position < end),
  );
  return (waited ?? unfed[0])?.start;
}

/** Whether a reader is where the stream works, or will come there through bytes that are there already. */
function isRead<S extends Stream>(stream: S, state: FillState<S>): boolean {
  const limit = limitOf(stream, state);
  for (const { position, end } of state.demands) {
    const reached = Math.max(position, state.written.coveredTo(position));
    if (end > stream.position && position < limit && reached >= stream.start) return true;
  }
  return false;
}
