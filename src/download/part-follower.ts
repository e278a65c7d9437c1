import type { Extents } from '../lib/extents.ts';
import type { BlobPart } from '../store/blobs.ts';

/** A killed process loses at most the bytes written in this time, or this many. */
const NOTE_EVERY_MS = 250;
const NOTE_EVERY_BYTES = 16 * 1024 * 1024;
/** The least number of bytes for which the hash thread is woken. The rest at the end takes it milliseconds. */
const HASH_BYTES = 4 * 1024 * 1024;

/** Hashes a part from the start on as it grows, and notes the written extents. */
export class PartFollower {
  readonly #part: Pick<BlobPart, 'hashTo' | 'note'>;
  readonly #written: Extents;
  readonly #onError: (error: unknown) => void;
  #hashing: Promise<void> | undefined;
  #hashedTo = 0;
  #noting: Promise<void> | undefined;
  #noteTimer: NodeJS.Timeout | undefined;
  #notedBytes = 0;
  #isFinished = false;
  readonly #abort = new AbortController();

  /** `onError` is called if the part cannot be read back. A note that fails only makes a later start lose more. */
  constructor(part: Pick<BlobPart, 'hashTo' | 'note'>, written: Extents, onError: (error: unknown) => void) {
    this.#part = part;
    this.#written = written;
    this.#onError = onError;
  }

  /** Call after each write. */
  wrote(): void {
    if (this.#isFinished) return;
    if (this.#written.prefix >= this.#hashedTo + HASH_BYTES) this.#hashing ??= this.#hash();
    this.#noteTimer ??= setTimeout(() => this.#note(), NOTE_EVERY_MS).unref();
    if (this.#written.bytes >= this.#notedBytes + NOTE_EVERY_BYTES) this.#note();
  }

  /** Ends the hash, however much is left of it. */
  stop(): void {
    this.#abort.abort();
  }

  /** Resolves when the running hash and note have ended. No others follow. */
  async finish(): Promise<void> {
    this.#isFinished = true;
    clearTimeout(this.#noteTimer);
    await this.#hashing;
    await this.#noting;
  }

  async #hash(): Promise<void> {
    try {
      for (let end = this.#written.prefix; end >= this.#hashedTo + HASH_BYTES; end = this.#written.prefix) {
        await this.#part.hashTo(end, this.#abort.signal);
        this.#hashedTo = end;
      }
      this.#hashing = undefined;
    } catch (error) {
      if (!this.#abort.signal.aborted) this.#onError(error);
    }
  }

  #note(): void {
    clearTimeout(this.#noteTimer);
    this.#noteTimer = undefined;
    if (this.#isFinished) return;
    this.#notedBytes = this.#written.bytes;
    this.#noting = this.#part.note([...this.#written.list]).catch(() => undefined);
  }
}
