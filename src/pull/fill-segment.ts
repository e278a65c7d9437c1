import { bulkTurn } from '../lib/bulk-turn.ts';
import type { Extent } from '../lib/extents.ts';
import type { BlobPart } from '../store/blob-store.ts';
import type { Stream } from './fill-plan.ts';
import { PartWriter } from './part-writer.ts';
import { RecentWrites } from './recent-writes.ts';
import { upstreamBytes, type BytesRequest } from './upstream-bytes.ts';

/** So much is received in one go; undici hands over no more than this at a time, TLS a quarter. */
const PIECE_BYTES = 64 * 1024;
/** Rates are measured over so long at least. */
const WINDOW_MS = 500;

export interface FillSegmentOptions extends Omit<BytesRequest, 'limit' | 'signal'> {
  readonly part: BlobPart;
  /** Where the segment has to stop, exclusive; undefined while the size of the blob is not known. */
  readonly limit: (segment: FillSegment) => number | undefined;
  readonly onWritten: (written: Extent) => void;
  /** The disk has refused a write, which `run` throws once it has ended. */
  readonly onFailed: (error: unknown) => void;
}

/** One place at which a fill receives: it goes from its start to where bytes are there already. */
export class FillSegment implements Stream {
  readonly start: number;
  readonly recent = new RecentWrites();
  readonly #options: FillSegmentOptions;
  readonly #abort = new AbortController();
  #position: number;
  #windowAt = performance.now();
  #windowBytes = 0;
  #lastRate = 0;

  constructor(options: FillSegmentOptions) {
    this.#options = options;
    this.start = options.start;
    this.#position = options.start;
  }

  get position(): number {
    return this.#position;
  }

  get isStopped(): boolean {
    return this.#abort.signal.aborted;
  }

  get bytesPerSecond(): number {
    const elapsedMs = performance.now() - this.#windowAt;
    return elapsedMs < WINDOW_MS ? this.#lastRate : (this.#windowBytes / elapsedMs) * 1000;
  }

  /**
   * Resolves when everything up to the limit is written, or what came before `stop`. Throws BlobBodyError,
   * RangeIgnoredError, or BlobStoreError.
   */
  async run(): Promise<void> {
    const { part, limit, onWritten, onFailed } = this.#options;
    const writer = new PartWriter(part, this.start, {
      onWritten: (written, chunks) => {
        this.recent.add(written, chunks);
        onWritten(written);
      },
      onFailed,
    });
    let pieceBytes = 0;
    const request = { ...this.#options, limit: () => limit(this), signal: this.#abort.signal };
    try {
      for await (const chunk of upstreamBytes(request)) {
        // Another segment may begin where this one stopped.
        if (this.isStopped) return;
        this.#position += chunk.length;
        this.#measure(chunk.length);
        await writer.push(chunk);
        pieceBytes += chunk.length;
        if (pieceBytes < PIECE_BYTES) continue;
        pieceBytes = 0;
        await bulkTurn();
      }
    } finally {
      await writer.flush();
    }
  }

  stop(): void {
    this.#abort.abort();
  }

  #measure(bytes: number): void {
    const now = performance.now();
    if (now - this.#windowAt >= WINDOW_MS) {
      this.#lastRate = this.bytesPerSecond;
      this.#windowAt = now;
      this.#windowBytes = 0;
    }
    this.#windowBytes += bytes;
  }
}
