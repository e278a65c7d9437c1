import { Extents, type Extent } from '../lib/extents.ts';
import type { KeptExtents } from '../store/blobs.ts';

/** One request of a fill to upstream. */
export interface Stream {
  /** Its first byte, and the next byte that it will receive. */
  readonly start: number;
  readonly position: number;
  /** End of the requested range, exclusive. */
  readonly end: number;
}

/** A reader that began at `start`, is at `position` and reads up to `end`. */
export interface Demand {
  readonly start: number;
  readonly position: number;
  readonly end: number;
  /** In ms; undefined while the reader does not wait. */
  readonly waitsSince: number | undefined;
}

export interface FillState<S extends Stream = Stream> {
  readonly size: number;
  readonly written: Extents;
  readonly streams: readonly S[];
  readonly demands: readonly Demand[];
  /** The least distance between the starts of two readers; Infinity until two were far apart. */
  readonly pieceBytes: number;
}

export interface SegmentLimits {
  /** Streams of one fill at a time. */
  readonly maxStreams: number;
  /** A reader waits for a running stream that is nearer than this. */
  readonly minGapBytes: number;
}

/** A new stream for the bytes from `start` to `end`. */
export interface Opening<S extends Stream = Stream> extends Extent {
  /** This stream must end first: no reader follows it. */
  readonly instead?: S;
  /** The range size of the next streams. */
  readonly pieceBytes: number;
}

/** Limit on the range of the last stream of a fill, in gaps. */
const LAST_PLACE_GAPS = 16;

/** The first missing extent of a blob whose part was kept; undefined if nothing is missing. */
export function firstMissing(
  kept: KeptExtents | undefined,
  knownSize: number | undefined,
): (Partial<Extent> & Pick<Extent, 'start'>) | undefined {
  const size = knownSize ?? kept?.size;
  if (size === undefined || kept?.size !== size) return { start: 0 };
  return new Extents(kept.written).gaps(size)[0];
}

/** The end of `stream`: the end of its request, the next written byte or the start of another stream. */
export function limitOf<S extends Stream>(stream: S, { size, written, streams }: FillState<S>): number {
  const { position } = stream;
  if (written.coveredTo(position) > position) return position;
  let limit = Math.min(size, stream.end, written.nextStart(position) ?? size);
  for (const other of streams) {
    if (other !== stream && other.start >= position && other.start < limit) limit = other.start;
  }
  return limit;
}

/** The stream to open for a reader; undefined if it must wait for running streams. */
export function openingFor<S extends Stream>(
  demand: Demand,
  state: FillState<S>,
  limits: SegmentLimits,
): Opening<S> | undefined {
  // The first missing byte on the reader's way.
  const position = state.written.coveredTo(demand.position);
  if (position >= Math.min(demand.end, state.size)) return undefined;
  const feeder = feederOf(position, state);
  if (feeder !== undefined && position - feeder.position < limits.minGapBytes) return undefined;
  const place = placeFor(demand, state, limits);
  if (place === undefined) return undefined;
  const hole = feeder === undefined ? startOfHole(position, state) : position;
  const start = position - hole < limits.minGapBytes ? hole : position;
  const pieceBytes = Math.min(
    state.pieceBytes,
    feeder === undefined ? Infinity : position - feeder.start,
    place.instead === undefined ? Infinity : place.instead.position - place.instead.start,
  );
  // A client's range request shows the size it needs. A reader without an end that has read far gets large ranges.
  const wanted = demand.end < state.size ? demand.end - start : demand.position - demand.start;
  // Other readers may come soon, and would wait for the end of the last stream.
  const most = state.streams.length + 1 < limits.maxStreams ? Infinity : LAST_PLACE_GAPS * limits.minGapBytes;
  const bytes = Math.max(Math.min(Math.max(pieceBytes, wanted), most), position + 1 - start);
  return { start, end: endOf(start, start + bytes, state, limits), pieceBytes, ...place };
}

/**
 * The stream to open after another one ended: for the reader that waits longest, then for readers on the way to a
 * hole, then for the first hole.
 */
export function nextOpening<S extends Stream>(
  state: FillState<S>,
  limits: SegmentLimits,
): Opening<S> | undefined {
  for (const demand of byNeed(state.demands)) {
    const opening = openingFor(demand, state, limits);
    if (opening !== undefined) return opening;
  }
  if (state.streams.length > 0) return undefined;
  // No reader is on its way to the hole, so one request for all of it is enough.
  const [hole] = state.written.gaps(state.size);
  return hole && { ...hole, pieceBytes: state.pieceBytes };
}

function byNeed(demands: readonly Demand[]): Demand[] {
  const waiting = ({ waitsSince }: Demand): boolean => waitsSince !== undefined;
  const longestFirst = demands
    .filter(waiting)
    .sort((one, other) => (one.waitsSince ?? 0) - (other.waitsSince ?? 0));
  return [...longestFirst, ...demands.filter((demand) => !waiting(demand))];
}

/**
 * Room for another stream: free, or by replacing one. Bytes in flight on an ended connection are lost. So a replaced
 * stream must have brought at least a gap, and have at least a gap left.
 */
function placeFor<S extends Stream>(
  { waitsSince }: Demand,
  state: FillState<S>,
  limits: SegmentLimits,
): { readonly instead?: S } | undefined {
  const { streams } = state;
  if (streams.length < limits.maxStreams) return {};
  if (waitsSince === undefined) return undefined;
  const { demands } = state;
  const instead = streams.find(
    (stream) =>
      stream.position - stream.start >= limits.minGapBytes &&
      limitOf(stream, state) - stream.position >= limits.minGapBytes &&
      !isRead(stream, demands, state, limits),
  );
  return instead === undefined ? undefined : { instead };
}

/** The stream that downloads the byte at `position`, or has just downloaded it. */
function feederOf<S extends Stream>(position: number, state: FillState<S>): S | undefined {
  let feeder: S | undefined;
  for (const stream of state.streams) {
    if (stream.start <= position && stream.start >= (feeder?.start ?? 0)) feeder = stream;
  }
  return feeder !== undefined && position < limitOf(feeder, state) ? feeder : undefined;
}

/** The start of the missing bytes before `position` that no stream downloads. */
function startOfHole<S extends Stream>(position: number, state: FillState<S>): number {
  const hole = state.written.gaps(state.size).find(({ start, end }) => start <= position && position < end);
  const ends = state.streams.map((stream) => limitOf(stream, state)).filter((end) => end <= position);
  return Math.max(hole?.start ?? position, ...ends);
}

/**
 * The end of a stream from `start`: `wanted`, or the next written or demanded byte if that is earlier or shortly
 * behind.
 */
function endOf<S extends Stream>(
  start: number,
  wanted: number,
  { size, written, streams, demands }: FillState<S>,
  { minGapBytes }: SegmentLimits,
): number {
  let most = Math.min(size, written.nextStart(start) ?? size);
  for (const other of streams) if (other.start > start) most = Math.min(most, other.start);
  for (const { position } of demands) if (position - start >= minGapBytes) most = Math.min(most, position);
  return most - wanted < minGapBytes / 2 ? most : wanted;
}

/** True if a reader waits for the stream's next bytes, or reaches them through written bytes. */
function isRead<S extends Stream>(
  stream: S,
  demands: readonly Demand[],
  { written }: FillState<S>,
  { minGapBytes }: SegmentLimits,
): boolean {
  return demands.some(({ position, end }) => {
    const reached = written.coveredTo(position);
    return end > stream.position && reached >= stream.start && reached < stream.position + minGapBytes;
  });
}
