import { Extents, type Extent } from '../lib/extents.ts';
import { deferred, type Deferred } from '../lib/promises.ts';
import type { Digest } from '../oci/digest.ts';
import type { BlobPart } from '../store/blobs.ts';
import type { BlobStream } from '../upstream/upstream.ts';
import { BlobBodyError } from './errors.ts';
import {
  limitOf,
  nextOpening,
  openingFor,
  type Demand,
  type FillState,
  type Opening,
  type SegmentLimits,
} from './plan.ts';
import type { FillProgress } from './progress.ts';
import { FillSegment } from './segment.ts';
import { RangeIgnoredError, type OpenBlob } from './source.ts';

export interface DownloadOptions {
  readonly digest: Digest;
  readonly part: BlobPart;
  readonly progress: FillProgress;
  readonly open: OpenBlob;
  readonly limits: SegmentLimits;
  /** The current demands of the readers. */
  readonly demands: () => readonly Demand[];
  readonly onWritten: (extent: Extent) => void;
}

/** Downloads one blob by several segments at a time, until everything is written. */
export class Download {
  readonly #options: DownloadOptions;
  readonly #segments = new Set<FillSegment>();
  #round: Deferred<void> | undefined;
  #failure: { readonly error: unknown } | undefined;
  #isStopped = false;
  #isSequential = false;
  #opened = 0;
  #pieceBytes = Infinity;

  constructor(options: DownloadOptions) {
    this.#options = options;
  }

  /** The number of segments opened so far. */
  get opened(): number {
    return this.#opened;
  }

  /** The upstream ignores ranges, so several segments would each fetch the whole blob. */
  goSequential(): void {
    this.#isSequential = true;
  }

  /**
   * Downloads the missing bytes; `first` is an upstream response that was opened for them. Resolves when everything
   * is written, or after `stop` what came before. Throws the error of a segment or of `fail`; then no segment runs
   * on.
   */
  async receive(first: BlobStream | undefined): Promise<void> {
    const { progress } = this.#options;
    const round = deferred<void>();
    this.#round = round;
    this.#isStopped = false;
    if (this.#failure === undefined) this.#goOn(first);
    else first?.close();
    if (this.#segments.size === 0) this.#settle();
    // Readers far ahead may now get a segment of their own.
    progress.changed();
    await round.promise;
    this.#round = undefined;
  }

  /** Opens a segment for `demand` if the plan allows; else a running one brings the bytes later. */
  want(demand: Demand): void {
    const state = this.#state();
    if (state === undefined || this.#isEnding() || this.#isSequential) return;
    const opening = openingFor(demand, state, this.#options.limits);
    if (opening !== undefined) this.#open(opening);
  }

  /** The bytes from `position` on if they are still in memory after a write; else nothing. */
  recent(position: number, maxBytes: number): readonly Buffer[] {
    for (const { recent } of this.#segments) {
      const found = recent.from(position, maxBytes);
      if (found.length > 0) return found;
    }
    return [];
  }

  stop(): void {
    this.#isStopped = true;
    for (const segment of this.#segments) segment.stop();
  }

  /**
   * Ends the download with `error` after every segment has ended: nothing may be written to a part that is given up.
   */
  fail(error: unknown): void {
    this.#failure ??= { error };
    this.stop();
    if (this.#segments.size === 0) this.#settle();
  }

  #open({ instead, pieceBytes, ...extent }: Opening<FillSegment>): void {
    this.#pieceBytes = pieceBytes;
    instead?.stop();
    this.#launch(extent);
  }

  /** Opens a segment for missing bytes that no segment downloads. */
  #goOn(first?: BlobStream): void {
    const { progress, limits } = this.#options;
    const state = this.#state();
    if (state === undefined) return this.#launch({ start: progress.written.prefix, end: Infinity }, first);
    const [hole] = state.written.gaps(state.size);
    if (hole !== undefined && first !== undefined && first.offset <= hole.start) {
      return this.#launch({ start: hole.start, end: Infinity }, first);
    }
    first?.close();
    if (this.#isSequential) {
      if (hole !== undefined && this.#segments.size === 0) this.#launch(hole);
      return;
    }
    const opening = nextOpening(state, limits);
    if (opening !== undefined) this.#open(opening);
  }

  #launch({ start, end }: Extent, first?: BlobStream): void {
    const { digest, part, progress, open, limits, onWritten } = this.#options;
    this.#opened++;
    const segment: FillSegment = new FillSegment({
      digest,
      start,
      end,
      part,
      open,
      first,
      limit: (self) => {
        const state = this.#state();
        return state === undefined ? undefined : limitOf(self, state);
      },
      maySkip: () => this.#running().length === 1,
      onWritten: (extent) => {
        onWritten(extent);
        // From this mark on, the segment may be replaced for a waiting reader if no reader follows it.
        const mark = start + limits.minGapBytes;
        if (extent.start < mark && extent.end >= mark) progress.changed();
      },
      // A segment may wait long for upstream before it ends. Readers must learn of the failure now, and no segment
      // may begin.
      onFailed: (error) => this.fail(error),
    });
    this.#segments.add(segment);
    void segment.run().then(
      () => this.#ended(segment),
      (error: unknown) => {
        if (error instanceof RangeIgnoredError || this.#isOfOneRange(error)) this.goSequential();
        else this.fail(error);
        this.#ended(segment);
      },
    );
  }

  /** Upstream may fail one range and serve another; the missing bytes then come by the other. */
  #isOfOneRange(error: unknown): boolean {
    return error instanceof BlobBodyError && error.code === 'broken' && this.#running().length > 1;
  }

  #ended(segment: FillSegment): void {
    const { progress } = this.#options;
    this.#segments.delete(segment);
    segment.recent.clear();
    if (!this.#isEnding()) {
      // A blob of unknown size ends where its body ends.
      progress.size ??= progress.written.prefix;
      this.#goOn();
    }
    if (this.#segments.size === 0) this.#settle();
  }

  #settle(): void {
    if (this.#failure === undefined) this.#round?.resolve();
    else this.#round?.reject(this.#failure.error);
  }

  #isEnding(): boolean {
    return this.#isStopped || this.#failure !== undefined || this.#round === undefined;
  }

  #state(): FillState<FillSegment> | undefined {
    const { progress, demands } = this.#options;
    const { size } = progress;
    if (size === undefined) return undefined;
    const streams = this.#running();
    const written = this.#received();
    // A getter: the state is built for every chunk and for each of hundreds of readers, and few calls read the
    // demands.
    return {
      size,
      written,
      streams,
      pieceBytes: this.#pieceBytes,
      get demands() {
        return demands();
      },
    };
  }

  /** Written bytes, and those that a stopped segment has received and will still write. */
  #received(): Extents {
    const { written } = this.#options.progress;
    const stopped = [...this.#segments].filter(({ isStopped }) => isStopped);
    if (stopped.length === 0) return written;
    return new Extents([
      ...written.list,
      ...stopped.map(({ start, position }) => ({ start, end: position })),
    ]);
  }

  #running(): FillSegment[] {
    return [...this.#segments].filter(({ isStopped }) => !isStopped);
  }
}
