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
  /** What readers read, or wait for. */
  readonly demands: () => readonly Demand[];
  readonly onWritten: (extent: Extent) => void;
}

/** What is running of a fill: the places at which it receives, until everything is written. */
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

  /** At how many places it received. */
  get opened(): number {
    return this.#opened;
  }

  /** Upstream sends whole blobs only: to receive at several places would fetch everything as often. */
  goSequential(): void {
    this.#isSequential = true;
  }

  /**
   * Receives what is missing; `first` is an answer of upstream that was opened for it. Resolves when everything is
   * written, or what had come before `stop`. Throws what a segment or `fail` did; no segment runs on then.
   */
  async receive(first: BlobStream | undefined): Promise<void> {
    const { progress } = this.#options;
    const round = deferred<void>();
    this.#round = round;
    this.#isStopped = false;
    if (this.#failure === undefined) this.#goOn(first);
    else first?.close();
    if (this.#segments.size === 0) this.#settle();
    // Readers that are far ahead can be taken care of now.
    progress.changed();
    await round.promise;
    this.#round = undefined;
  }

  /** Sees to it that the bytes of `demand` come, if not at once. */
  want(demand: Demand): void {
    const state = this.#state();
    if (state === undefined || this.#isEnding() || this.#isSequential) return;
    const opening = openingFor(demand, state, this.#options.limits);
    if (opening !== undefined) this.#open(opening);
  }

  /** The bytes from `position` on, if they were written a moment ago; else nothing. */
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

  /** Ends the transfer with `error`, once every segment has ended: nothing may be written to a part that is given up. */
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

  /** Asks for what is missing, if something is, as far as it is not being received. */
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
      ...(first === undefined ? {} : { first }),
      limit: (self) => {
        const state = this.#state();
        return state === undefined ? undefined : limitOf(self, state);
      },
      maySkip: () => this.#running().length === 1,
      onWritten: (extent) => {
        onWritten(extent);
        // From here on it may make way, if nobody reads it, for one who waits already.
        const mark = start + limits.minGapBytes;
        if (extent.start < mark && extent.end >= mark) progress.changed();
      },
      // Upstream may be silent for long, and whoever reads must learn of it at once; nothing may begin meanwhile.
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

  /** Upstream may have no answer to one range and go on with another: what is missing then comes by that one. */
  #isOfOneRange(error: unknown): boolean {
    return error instanceof BlobBodyError && error.code === 'broken' && this.#running().length > 1;
  }

  #ended(segment: FillSegment): void {
    const { progress } = this.#options;
    this.#segments.delete(segment);
    if (!this.#isEnding()) {
      // The body of a blob whose size nobody told has come to its end.
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
    // Asked for at every chunk and by every reader that waits, of which there may be hundreds; few ask for the others.
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

  /** What is written, or about to be: one that was stopped still writes what it has received. */
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
