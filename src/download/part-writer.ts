import type { Extent } from '../lib/extents.ts';
import { append } from '../lib/receive-buffers.ts';
import type { BlobPart } from '../store/blobs.ts';
import { RecentWrites } from './recent-writes.ts';

/**
 * A write takes the bytes of 4 ms, or 2 MiB if they come sooner. Each write wakes a thread, which costs more than the
 * system call. Bytes after a longer pause are written at once.
 */
const WRITE_EVERY_MS = 4;
const WRITE_BYTES = 2 * 1024 * 1024;
/**
 * The sum of one write of each writer, unless there are very many. While the disk is slow, each writer holds two
 * writes in memory, one that waits and one that runs, besides what is recent.
 */
const ALL_WRITES_BYTES = 16 * 1024 * 1024;
/** A write is worth a trip to another thread. */
const MIN_WRITE_BYTES = 64 * 1024;

/** How far behind a reader may be and still read from memory: one writer's share, and that of all. */
const RECENT_BYTES = 8 * 1024 * 1024;
const ALL_RECENT_BYTES = 32 * 1024 * 1024;

/** The writers that are not flushed yet. */
const writers = new Set<PartWriter>();

function writeBytes(): number {
  return Math.max(MIN_WRITE_BYTES, Math.min(WRITE_BYTES, ALL_WRITES_BYTES / writers.size));
}

function recentBytes(): number {
  return Math.min(RECENT_BYTES, ALL_RECENT_BYTES / writers.size);
}

export interface PartWriterEvents {
  /** After each write: the extent that can be read back. */
  readonly onWritten: (written: Extent) => void;
  /** The disk refused a write. `push` and `flush` throw its error; later chunks are not written. */
  readonly onFailed?: (error: unknown) => void;
}

/** Writes a stream of chunks to a part, in as few writes as possible without making readers wait. */
export class PartWriter {
  readonly recent = new RecentWrites(recentBytes);
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

  /**
   * Becomes the holder of the chunk in place of the caller. Resolves at once, or when the disk has caught up. Throws the
   * disk's error.
   */
  async push(chunk: Buffer): Promise<void> {
    this.#throwFailure();
    append(this.#queue, chunk);
    this.#queuedBytes += chunk.length;
    this.#writeWhenDue();
    while (this.#queuedBytes >= writeBytes()) {
      // `#running` is undefined if the limit fell because there are more writers than before.
      await (this.#running ??= this.#write());
      this.#throwFailure();
    }
  }

  /** Resolves when all chunks are written. Must be called at the end in any case. Throws the disk's error. */
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
      this.recent.add({ start, end }, chunks);
      this.#events.onWritten({ start, end });
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
