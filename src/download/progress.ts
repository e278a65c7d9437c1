import { Extents, type Extent } from '../lib/extents.ts';
import { type BlobBodyError, HELD_BACK_BYTES } from './errors.ts';

/** The disk takes no more: readers have to get what is not written by themselves. */
export const DIVERTED = Symbol('diverted');

/** How far a fill has come, and those who wait for it to come further. */
export class FillProgress {
  /** Bytes of the whole blob, once known. */
  size: number | undefined;
  readonly written = new Extents();
  #isVerified = false;
  #failure: BlobBodyError | typeof DIVERTED | undefined;
  /** With the byte that each of them waits for. */
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

  /** Something else has changed that readers wait for. */
  changed(): void {
    this.#wake();
  }

  /** Before this byte, the last ones are kept from those who must not take wrong bytes for a whole blob. */
  holdFrom(): number {
    return Math.max(0, (this.size ?? this.written.prefix) - HELD_BACK_BYTES);
  }

  /**
   * Up to where bytes may be read from `position` on, exclusive; `isHeldBack` leaves the last ones out until the blob
   * is verified. DIVERTED if no more of them will come here. Throws BlobBodyError once the fill has failed.
   */
  limitFrom(position: number, isHeldBack: boolean): number | typeof DIVERTED {
    if (this.#isVerified) return this.size ?? this.written.prefix;
    if (this.#failure !== undefined && this.#failure !== DIVERTED) throw this.#failure;
    const end = this.written.coveredTo(position);
    const limit = isHeldBack ? Math.min(end, this.holdFrom()) : end;
    return limit <= position && this.#failure === DIVERTED ? DIVERTED : limit;
  }

  /**
   * Calls `wake` once, when there is more from `position` on or anything else has changed; the function returned takes
   * that back.
   */
  onChange(position: number, wake: () => void): () => void {
    this.#waiters.set(wake, position);
    return () => this.#waiters.delete(wake);
  }

  /** Hundreds may wait, far from each other, and a write is for few of them. */
  #wake(isFor: (position: number) => boolean = () => true): void {
    const woken = [...this.#waiters].filter(([, position]) => isFor(position));
    for (const [wake] of woken) this.#waiters.delete(wake);
    for (const [wake] of woken) wake();
  }
}
