import type { Extent } from '../lib/extents.ts';
import type { BlobPart } from '../store/blob-store.ts';

/** So much may wait for the disk before upstream has to. */
const MAX_QUEUED_BYTES = 1024 * 1024;

/** Writes a stream of chunks to a part: what arrives during one write goes out together in the next. */
export class PartWriter {
  readonly #part: BlobPart;
  readonly #onWritten: (written: Extent) => void;
  #position: number;
  #queue: Buffer[] = [];
  #queuedBytes = 0;
  #running: Promise<void> | undefined;
  #failure: { readonly error: unknown } | undefined;

  /** Writes from `start` on; `onWritten` is told, after each write, what can be read back. */
  constructor(part: BlobPart, start: number, onWritten: (written: Extent) => void) {
    this.#part = part;
    this.#position = start;
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
        const start = this.#position;
        await this.#part.write(chunks, start);
        this.#position += bytes;
        this.#onWritten({ start, end: this.#position });
      }
    } catch (error) {
      this.#failure = { error };
    } finally {
      this.#running = undefined;
    }
  }
}
