import { Extents, type Extent } from '../lib/extents.ts';
import type { KeptExtents } from '../store/blobs.ts';

/** One request of a fill to upstream. */
export interface Stream {
  /** Where it began, and the next byte that it will receive. */
  readonly start: number;
  readonly position: number;
  /** What it has asked for ends here, exclusive. */
  readonly end: number;
}

/** A reader that began at `start` waits for the byte at `position`, or reads there, and wants those up to `end`. */
export interface Demand {
  readonly start: number;
  readonly position: number;
  readonly end: number;
  /** In ms; undefined while it does not wait. */
  readonly waitsSince: number | undefined;
}

export interface FillState<S extends Stream = Stream> {
  readonly size: number;
  readonly written: Extents;
  readonly streams: readonly S[];
  readonly demands: readonly Demand[];
  /** The least distance at which readers were seen to begin; Infinity until two of them were far apart. */
  readonly pieceBytes: number;
}

export interface SegmentLimits {
  /** How many streams a fill may have at a time. */
  readonly maxStreams: number;
  /** A byte that is nearer to what is being received is waited for. */
  readonly minGapBytes: number;
}

/** Another stream, for the bytes from `start` to `end`. */
export interface Opening<S extends Stream = Stream> extends Extent {
  /** It has to end first: nobody reads what it brings. */
  readonly instead?: S;
  /** What the next streams are to ask for. */
  readonly pieceBytes: number;
}

/** The last stream that there may be asks for so many gaps at most. */
const LAST_PLACE_GAPS = 16;

/** What upstream is to be asked for first of a blob of which this was kept; undefined if that is everything. */
export function firstMissing(
  kept: KeptExtents | undefined,
  knownSize: number | undefined,
): (Partial<Extent> & Pick<Extent, 'start'>) | undefined {
  const size = knownSize ?? kept?.size;
  if (size === undefined || kept?.size !== size) return { start: 0 };
  return new Extents(kept.written).gaps(size)[0];
}

/** Where `stream` has to stop: where its request ends, bytes are there already, or another stream began. */
export function limitOf<S extends Stream>(stream: S, { size, written, streams }: FillState<S>): number {
  const { position } = stream;
  if (written.coveredTo(position) > position) return position;
  let limit = Math.min(size, stream.end, written.nextStart(position) ?? size);
  for (const other of streams) {
    if (other !== stream && other.start >= position && other.start < limit) limit = other.start;
  }
  return limit;
}

/** What is to be opened for a reader; undefined if it has to wait for what runs. */
export function openingFor<S extends Stream>(
  demand: Demand,
  state: FillState<S>,
  limits: SegmentLimits,
): Opening<S> | undefined {
  // The first byte that is not there, which the reader comes to through those that are.
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
  // A range that ends says what is wanted; one that reads on and on is not given its bytes in small pieces.
  const wanted = demand.end < state.size ? demand.end - start : demand.position - demand.start;
  // There may be others soon, who have to wait then.
  const most = state.streams.length + 1 < limits.maxStreams ? Infinity : LAST_PLACE_GAPS * limits.minGapBytes;
  const bytes = Math.max(Math.min(Math.max(pieceBytes, wanted), most), position + 1 - start);
  return { start, end: endOf(start, start + bytes, state, limits), pieceBytes, ...place };
}

/** What is to be opened where a stream has ended: for who waits, the longest first, and who will come to a hole. */
export function nextOpening<S extends Stream>(
  state: FillState<S>,
  limits: SegmentLimits,
): Opening<S> | undefined {
  for (const demand of byNeed(state.demands)) {
    const opening = openingFor(demand, state, limits);
    if (opening !== undefined) return opening;
  }
  if (state.streams.length > 0) return undefined;
  // Nobody comes to it for now, so one connection is enough, and one request for all of it.
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
 * Whether another stream may run, or takes the place of one. What a connection had in flight when it was ended is
 * lost, so it has to have brought something, and to have more to bring than will come at once.
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

/** The stream that brings the byte at `position`, or has just brought it. */
function feederOf<S extends Stream>(position: number, state: FillState<S>): S | undefined {
  let feeder: S | undefined;
  for (const stream of state.streams) {
    if (stream.start <= position && stream.start >= (feeder?.start ?? 0)) feeder = stream;
  }
  return feeder !== undefined && position < limitOf(feeder, state) ? feeder : undefined;
}

/** Where the bytes before `position` begin that are not there and that nothing brings. */
function startOfHole<S extends Stream>(position: number, state: FillState<S>): number {
  const hole = state.written.gaps(state.size).find(({ start, end }) => start <= position && position < end);
  const ends = state.streams.map((stream) => limitOf(stream, state)).filter((end) => end <= position);
  return Math.max(hole?.start ?? position, ...ends);
}

/** Where a stream from `start` on is to end: at `wanted`, unless something else is there before, or little behind it. */
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

/** Whether a reader waits for what the stream brings next, or will come there through bytes that are there already. */
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
