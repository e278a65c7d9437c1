import type { Extent } from '../lib/extents.ts';
import { fairTurn } from '../lib/turns.ts';
import type { BlobPart } from '../store/blobs.ts';
import { PartWriter } from './part-writer.ts';
import type { Stream } from './plan.ts';
import { upstreamBytes, type BytesRequest } from './source.ts';

/** A reader at the head of the fill sends one write while the next one runs. */
const MAX_WRITES = 2;

interface Write extends Extent {
  readonly chunks: readonly Buffer[];
}

/**
 * The last writes of a segment. Readers close behind take them from memory instead of the disk. A slow fill writes
 * little at a time, so only fast fills hold much memory.
 */
export class RecentWrites {
  readonly #writes: Write[] = [];

  add(written: Extent, chunks: readonly Buffer[]): void {
    this.#writes.push({ ...written, chunks });
    if (this.#writes.length > MAX_WRITES) this.#writes.shift();
  }

  /** At most `maxBytes` from `position` on; nothing if these bytes are no longer in memory. */
  from(position: number, maxBytes: number): readonly Buffer[] {
    const write = this.#writes.find(({ start, end }) => start <= position && position < end);
    return write === undefined ? [] : slice(write.chunks, position - write.start, maxBytes);
  }
}

function slice(chunks: readonly Buffer[], offset: number, maxBytes: number): Buffer[] {
  const found: Buffer[] = [];
  let skip = offset;
  let left = maxBytes;
  for (const chunk of chunks) {
    if (left <= 0) break;
    const piece = chunk.subarray(skip, skip + left);
    skip = Math.max(0, skip - chunk.length);
    left -= piece.length;
    if (piece.length > 0) found.push(piece);
  }
  return found;
}

/** Received between two turns. A socket delivers at most this much at a time, TLS a quarter. */
const PIECE_BYTES = 64 * 1024;

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
  readonly recent = new RecentWrites();
  readonly #options: FillSegmentOptions;
  readonly #abort = new AbortController();
  #position: number;

  constructor(options: FillSegmentOptions) {
    this.#options = options;
    this.start = options.start;
    this.end = options.end;
    this.#position = options.start;
  }

  get position(): number {
    return this.#position;
  }

  get isStopped(): boolean {
    return this.#abort.signal.aborted;
  }

  /**
   * Resolves when everything up to the limit is written, or after `stop` what came before. Throws BlobBodyError,
   * RangeIgnoredError or BlobStoreError.
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
        // Another segment may begin at this byte.
        if (this.isStopped) return;
        this.#position += chunk.length;
        await writer.push(chunk);
        pieceBytes += chunk.length;
        if (pieceBytes < PIECE_BYTES) continue;
        pieceBytes = 0;
        await fairTurn();
      }
    } finally {
      await writer.flush();
    }
  }

  stop(): void {
    this.#abort.abort();
  }
}
