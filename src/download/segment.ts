import type { Extent } from '../lib/extents.ts';
import { fairTurn } from '../lib/turns.ts';
import type { BlobPart } from '../store/blobs.ts';
import { PartWriter } from './part-writer.ts';
import type { RecentWrites } from './recent-writes.ts';
import type { Stream } from './plan.ts';
import { upstreamBytes, type BytesRequest } from './source.ts';

/** Received between two turns. A socket delivers at most this much at a time, TLS a sixteenth. */
const PIECE_BYTES = 256 * 1024;

export interface FillSegmentOptions extends Omit<BytesRequest, 'limit' | 'signal'> {
  readonly part: BlobPart;
  /** End of the range to request, exclusive; Infinity if it is open. */
  readonly end: number;
  /** The byte at which the segment must stop; undefined while the size of the blob is unknown. */
  readonly limit: (segment: FillSegment) => number | undefined;
  readonly onWritten: (written: Extent) => void;
  /** The disk refused a write. `run` throws its error at its end. */
  readonly onFailed: (error: unknown) => void;
}

/** A stretch of a fill, downloaded by one request. A request that breaks off is repeated from that byte. */
export class FillSegment implements Stream {
  readonly start: number;
  readonly end: number;
  readonly #options: FillSegmentOptions;
  readonly #writer: PartWriter;
  readonly #abort = new AbortController();
  #position: number;

  constructor(options: FillSegmentOptions) {
    this.#options = options;
    this.start = options.start;
    this.end = options.end;
    this.#position = options.start;
    this.#writer = new PartWriter(options.part, options.start, options);
  }

  get position(): number {
    return this.#position;
  }

  get recent(): RecentWrites {
    return this.#writer.recent;
  }

  get isStopped(): boolean {
    return this.#abort.signal.aborted;
  }

  /**
   * Resolves when everything up to the limit is written, or after `stop` what came before. Throws BlobBodyError,
   * RangeIgnoredError or BlobStoreError.
   */
  async run(): Promise<void> {
    const { limit } = this.#options;
    let pieceBytes = 0;
    const request = { ...this.#options, limit: () => limit(this), signal: this.#abort.signal };
    try {
      for await (const chunk of upstreamBytes(request)) {
        // Another segment may begin at this byte.
        if (this.isStopped) return;
        this.#position += chunk.length;
        await this.#writer.push(chunk);
        pieceBytes += chunk.length;
        if (pieceBytes < PIECE_BYTES) continue;
        pieceBytes = 0;
        await fairTurn();
      }
    } finally {
      await this.#writer.flush();
    }
  }

  stop(): void {
    this.#abort.abort();
  }
}
