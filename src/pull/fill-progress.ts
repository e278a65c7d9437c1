import { type BlobBodyError, HELD_BACK_BYTES } from './blob-body.ts';

/** How far a fill has come, and those who wait for it to come further. */
export class FillProgress {
  /** Bytes of the whole blob, once known. */
  size: number | undefined;
  #written = 0;
  #isVerified = false;
  #failure: BlobBodyError | undefined;
  readonly #waiters = new Set<() => void>();

  get isVerified(): boolean {
    return this.#isVerified;
  }

  get hasFailed(): boolean {
    return this.#failure !== undefined;
  }

  advance(written: number): void {
    this.#written = written;
    this.#wake();
  }

  verify(size: number): void {
    this.size = size;
    this.#written = size;
    this.#isVerified = true;
    this.#wake();
  }

  fail(failure: BlobBodyError): void {
    this.#failure = failure;
    this.#wake();
  }

  /**
   * Up to where bytes may be read, exclusive; `isHeldBack` leaves the last ones out until the blob is verified.
   * Throws BlobBodyError once the fill has failed.
   */
  limit(isHeldBack: boolean): number {
    if (this.#isVerified) return this.#written;
    if (this.#failure !== undefined) throw this.#failure;
    return isHeldBack
      ? Math.min(this.#written, (this.size ?? this.#written) - HELD_BACK_BYTES)
      : this.#written;
  }

  /** Calls `wake` once, at the next change; the function returned takes that back. */
  onChange(wake: () => void): () => void {
    this.#waiters.add(wake);
    return () => this.#waiters.delete(wake);
  }

  #wake(): void {
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const wake of waiters) wake();
  }
}
