import type { Extents } from '../lib/extents.ts';
import type { BlobPart } from '../store/blobs.ts';

/** What a process that is killed may lose of what it had written: what came in this time, or so many bytes. */
const NOTE_EVERY_MS = 250;
const NOTE_EVERY_BYTES = 16 * 1024 * 1024;
/** The thread that hashes is not woken for less; what is left at the end takes it milliseconds. */
const HASH_BYTES = 4 * 1024 * 1024;

/** Follows a part as it grows: the hash over the bytes from the start on, and notes of what is written. */
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

  /** `onError` is told when the part cannot be read back; a note that fails only makes a later start lose more. */
  constructor(part: Pick<BlobPart, 'hashTo' | 'note'>, written: Extents, onError: (error: unknown) => void) {
    this.#part = part;
    this.#written = written;
    this.#onError = onError;
  }

  /** To be called when more is written. */
  wrote(): void {
    if (this.#isFinished) return;
    if (this.#written.prefix >= this.#hashedTo + HASH_BYTES) this.#hashing ??= this.#hash();
    this.#noteTimer ??= setTimeout(() => this.#note(), NOTE_EVERY_MS).unref();
    if (this.#written.bytes >= this.#notedBytes + NOTE_EVERY_BYTES) this.#note();
  }

  /** Ends the hash where it is, however much is left of it. */
  stop(): void {
    this.#abort.abort();
  }

  /** Resolves when everything is hashed that was written from the start on, and nothing is noted any more. */
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
