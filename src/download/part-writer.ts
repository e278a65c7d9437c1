import type { Extent } from '../lib/extents.ts';
import type { BlobPart } from '../store/blobs.ts';

/**
 * A write takes what has come in so long, or so many bytes if those come sooner: each one wakes a thread, which costs
 * more than the system call itself. What comes after a longer pause is written at once.
 */
const WRITE_EVERY_MS = 4;
const WRITE_BYTES = 2 * 1024 * 1024;
/**
 * One write of each writer takes no more, unless they are very many: while the disk is slow, four of them are in memory,
 * the one that waits, the one under way and the last two.
 */
const ALL_WRITES_BYTES = 16 * 1024 * 1024;
/** What may come at once. */
const MIN_WRITE_BYTES = 64 * 1024;

/** Those that may still be pushed to. */
const writers = new Set<PartWriter>();

function writeBytes(): number {
  return Math.max(MIN_WRITE_BYTES, Math.min(WRITE_BYTES, ALL_WRITES_BYTES / writers.size));
}

export interface PartWriterEvents {
  /** After each write: what can be read back, and what it is. */
  readonly onWritten: (written: Extent, chunks: readonly Buffer[]) => void;
  /** The disk has refused a write, which `push` and `flush` throw; what else comes is not written. */
  readonly onFailed?: (error: unknown) => void;
}

/** Writes a stream of chunks to a part, in as few writes as do not make its readers wait. */
export class PartWriter {
  readonly #part: Pick<BlobPart, 'write'>;
  readonly #events: PartWriterEvents;
  #position: number;
  #queue: Buffer[] = [];
  #queuedBytes = 0;
  #running: Promise<void> | undefined;
  #begunAt = -Infinity;
  #timer: NodeJS.Timeout | undefined;
  #failure: { readonly error: unknown } | undefined;

  /** Writes from `start` on. */
  constructor(part: Pick<BlobPart, 'write'>, start: number, events: PartWriterEvents) {
    this.#part = part;
    this.#position = start;
    this.#events = events;
    writers.add(this);
  }

  /** Takes the chunk over; resolves at once, or when the disk has caught up. Throws what the disk said. */
  async push(chunk: Buffer): Promise<void> {
    this.#throwFailure();
    this.#queue.push(chunk);
    this.#queuedBytes += chunk.length;
    this.#writeWhenDue();
    while (this.#queuedBytes >= writeBytes()) {
      // None is under way if there are more writers than a moment ago.
      await (this.#running ??= this.#write());
      this.#throwFailure();
    }
  }

  /** Resolves when all that was pushed is written. To be called in any case, at the end. Throws what the disk said. */
  async flush(): Promise<void> {
    while (this.#failure === undefined && (this.#running !== undefined || this.#queue.length > 0)) {
      this.#running ??= this.#write();
      await this.#running;
    }
    clearTimeout(this.#timer);
    writers.delete(this);
    this.#throwFailure();
  }

  #writeWhenDue(): void {
    if (this.#running !== undefined || this.#queue.length === 0 || this.#failure !== undefined) return;
    const inMs = this.#begunAt + WRITE_EVERY_MS - performance.now();
    if (inMs <= 0 || this.#queuedBytes >= writeBytes()) {
      this.#running = this.#write();
      return;
    }
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#writeWhenDue();
    }, inMs);
  }

  #write(): Promise<void> {
    const chunks = this.#queue;
    const start = this.#position;
    const end = start + this.#queuedBytes;
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#begunAt = performance.now();
    const written = (): void => {
      this.#position = end;
      this.#events.onWritten({ start, end }, chunks);
    };
    return this.#part
      .write(chunks, start)
      .then(written)
      .catch((error: unknown) => {
        this.#failure = { error };
        this.#events.onFailed?.(error);
      })
      .then(() => {
        this.#running = undefined;
        this.#writeWhenDue();
      });
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}
