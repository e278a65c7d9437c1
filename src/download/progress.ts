import { Extents, type Extent } from '../lib/extents.ts';
import { type BlobBodyError, HELD_BACK_BYTES } from './errors.ts';

/** The disk is full or broken: readers download the unwritten bytes themselves. */
export const DIVERTED = Symbol('diverted');

/** The progress of a fill, and the readers that wait for it. */
export class FillProgress {
  /** Size of the blob; undefined until known. */
  size: number | undefined;
  readonly written = new Extents();
  #isVerified = false;
  #failure: BlobBodyError | typeof DIVERTED | undefined;
  /** By callback: the byte that the reader waits for. */
  readonly #waiters = new Map<() => void, number>();

  get isVerified(): boolean {
    return this.#isVerified;
  }

  get hasFailed(): boolean {
    return this.#failure !== undefined;
  }

  wrote(extent: Extent): void {
    this.written.add(extent);
    const end = this.written.coveredTo(extent.start);
    this.#wake((position) => position < end && this.written.coveredTo(position) === end);
  }

  verify(size: number): void {
    this.size = size;
    this.#isVerified = true;
    this.#wake();
  }

  fail(failure: BlobBodyError | typeof DIVERTED): void {
    this.#failure ??= failure;
    this.#wake();
  }

  /** Wakes all readers after another change. */
  changed(): void {
    this.#wake();
  }

  /** The start of the bytes that are held back until the blob is verified. */
  holdFrom(): number {
    return Math.max(0, (this.size ?? this.written.prefix) - HELD_BACK_BYTES);
  }

  /**
   * The end of the bytes that may be read from `position`, exclusive. With `isHeldBack` the last 64 KiB are left out
   * until the blob is verified. DIVERTED if no more bytes will come. Throws BlobBodyError after the fill failed.
   */
  limitFrom(position: number, isHeldBack: boolean): number | typeof DIVERTED {
    if (this.#isVerified) return this.size ?? this.written.prefix;
    if (this.#failure !== undefined && this.#failure !== DIVERTED) throw this.#failure;
    const end = this.written.coveredTo(position);
    const limit = isHeldBack ? Math.min(end, this.holdFrom()) : end;
    return limit <= position && this.#failure === DIVERTED ? DIVERTED : limit;
  }

  /**
   * Calls `wake` once, when more bytes from `position` are written or anything else changes. The returned function
   * cancels.
   */
  onChange(position: number, wake: () => void): () => void {
    this.#waiters.set(wake, position);
    return () => this.#waiters.delete(wake);
  }

  /** Hundreds of readers may wait at distant positions, and a write concerns few of them. */
  #wake(isFor: (position: number) => boolean = () => true): void {
    const woken = [...this.#waiters].filter(([, position]) => isFor(position));
    for (const [wake] of woken) this.#waiters.delete(wake);
    for (const [wake] of woken) wake();
  }
}
