import type { Extents } from '../lib/extents.ts';
import type { BlobPart } from '../store/blob-store.ts';

/** How much a process that is killed may lose of what it had written. */
const NOTE_EVERY_MS = 500;

/** Follows a part as it grows: the hash over the bytes from the start on, and notes of what is written. */
export class PartFollower {
  readonly #part: BlobPart;
  readonly #written: Extents;
  readonly #onError: (error: unknown) => void;
  #hashing: Promise<void> | undefined;
  #hashedTo = 0;
  #noting: Promise<void> | undefined;
  #noteTimer: NodeJS.Timeout | undefined;
  #isFinished = false;

  /** `onError` is told when the part cannot be read back; a note that fails only makes a later start lose more. */
  constructor(part: BlobPart, written: Extents, onError: (error: unknown) => void) {
    this.#part = part;
    this.#written = written;
    this.#onError = onError;
  }

  /** To be called when more is written. */
  wrote(): void {
    if (this.#isFinished) return;
    this.#hashing ??= this.#hash();
    this.#noteTimer ??= setTimeout(() => this.#note(), NOTE_EVERY_MS).unref();
  }

  /** Resolves when nothing is read or noted any more. */
  async finish(): Promise<void> {
    this.#isFinished = true;
    clearTimeout(this.#noteTimer);
    await this.#hashing;
    await this.#noting;
  }

  async #hash(): Promise<void> {
    try {
      for (let end = this.#written.prefix; end > this.#hashedTo; end = this.#written.prefix) {
        await this.#part.hashTo(end);
        this.#hashedTo = end;
      }
      this.#hashing = undefined;
    } catch (error) {
      this.#onError(error);
    }
  }

  #note(): void {
    this.#noteTimer = undefined;
    if (this.#isFinished) return;
    this.#noting = this.#part.note([...this.#written.list]).catch(() => undefined);
  }
}
