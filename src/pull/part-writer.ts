import type { BlobPart } from '../store/blob-store.ts';

/** So much may wait for the disk before upstream has to. */
const MAX_QUEUED_BYTES = 4 * 1024 * 1024;

/** Writes a stream of chunks to a part: what arrives during one write goes out together in the next. */
export class PartWriter {
  readonly #part: BlobPart;
  readonly #onWritten: (written: number) => void;
  #position = 0;
  #queue: Buffer[] = [];
  #queuedBytes = 0;
  #running: Promise<void> | undefined;
  #failure: { readonly error: unknown } | undefined;

  /** `onWritten` is told, after each write, how many bytes from the start can be read back. */
  constructor(part: BlobPart, onWritten: (written: number) => void) {
    this.#part = part;
    this.#onWritten = onWritten;
  }

  /** Takes the chunk over; resolves at once, or when the disk has caught up. Throws what the disk said. */
  async push(chunk: Buffer): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure.error;
    this.#queue.push(chunk);
    this.#queuedBytes += chunk.length;
    this.#running ??= this.#drain();
    if (this.#queuedBytes > MAX_QUEUED_BYTES) await this.flush();
  }

  /** Resolves when all that was pushed is written. */
  async flush(): Promise<void> {
    await this.#running;
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  async #drain(): Promise<void> {
    try {
      while (this.#queue.length > 0) {
        const chunks = this.#queue;
        const bytes = this.#queuedBytes;
        this.#queue = [];
        this.#queuedBytes = 0;
        await this.#part.write(chunks, this.#position);
        this.#position += bytes;
        this.#onWritten(this.#position);
      }
    } catch (error) {
      this.#failure = { error };
    } finally {
      this.#running = undefined;
    }
  }
}
