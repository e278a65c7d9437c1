import { deferred, type Deferred } from '../lib/deferred.ts';
import { Extents, type Extent } from '../lib/extents.ts';
import type { Digest } from '../oci/digest.ts';
import type { BlobPart } from '../store/blob-store.ts';
import type { BlobStream } from '../upstream/upstream.ts';
import { BlobBodyError } from './blob-body.ts';
import { limitOf, nextHole, nextStep, type Demand, type FillState, type SegmentLimits } from './fill-plan.ts';
import type { FillProgress } from './fill-progress.ts';
import { FillSegment } from './fill-segment.ts';
import { RangeIgnoredError, type OpenBlob } from './upstream-bytes.ts';

export interface FillTransferOptions {
  readonly digest: Digest;
  readonly part: BlobPart;
  readonly progress: FillProgress;
  readonly open: OpenBlob;
  readonly limits: SegmentLimits;
  /** What readers wait for now. */
  readonly demands: () => readonly Demand[];
  readonly onWritten: (extent: Extent) => void;
}

/** What is running of a fill: the places at which it receives, until everything is written. */
export class FillTransfer {
  readonly #options: FillTransferOptions;
  readonly #segments = new Set<FillSegment>();
  #round: Deferred<void> | undefined;
  #failure: { readonly error: unknown } | undefined;
  #isStopped = false;
  #isSequential = false;
  #opened = 0;

  constructor(options: FillTransferOptions) {
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
    const round = deferred<void>();
    this.#round = round;
    this.#isStopped = false;
    const at = this.#nextHole();
    const isFirstOfUse = at !== undefined && first !== undefined && first.offset <= at;
    if (!isFirstOfUse) first?.close();
    if (at === undefined || this.#failure !== undefined) this.#settle();
    else this.#launch(at, isFirstOfUse ? first : undefined);
    // Readers that are far ahead can be taken care of now.
    this.#options.progress.changed();
    await round.promise;
    this.#round = undefined;
  }

  /** Sees to it that the bytes of `demand` come; false if they will not come soon. */
  want(demand: Demand): boolean {
    const state = this.#state();
    if (state === undefined || this.#isEnding() || this.#isSequential) return true;
    const step = nextStep(demand.position, state, this.#options.limits);
    switch (step.kind) {
      case 'wait':
        return true;
      case 'move':
        step.stream.stop();
        this.#launch(step.at);
        return true;
      case 'open':
        this.#launch(step.at);
        return true;
      case 'elsewhere':
        return false;
    }
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

  #launch(at: number, first?: BlobStream): void {
    const { digest, part, open, onWritten } = this.#options;
    this.#opened++;
    const segment: FillSegment = new FillSegment({
      digest,
      start: at,
      part,
      open,
      ...(first === undefined ? {} : { first }),
      limit: (self) => {
        const state = this.#state();
        return state === undefined ? undefined : limitOf(self, state);
      },
      maySkip: () => this.#running().length === 1,
      onWritten,
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
      const hole = this.#nextHole();
      if (hole !== undefined && this.#mayLaunch()) this.#launch(hole);
    }
    if (this.#segments.size === 0) this.#settle();
  }

  /** One that had to end for another has its place taken already. */
  #mayLaunch(): boolean {
    if (this.#isSequential) return this.#segments.size === 0;
    return this.#running().length < this.#options.limits.maxStreams;
  }

  #settle(): void {
    if (this.#failure === undefined) this.#round?.resolve();
    else this.#round?.reject(this.#failure.error);
  }

  #isEnding(): boolean {
    return this.#isStopped || this.#failure !== undefined || this.#round === undefined;
  }

  #nextHole(): number | undefined {
    const state = this.#state();
    return state === undefined ? this.#options.progress.written.prefix : nextHole(state);
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
