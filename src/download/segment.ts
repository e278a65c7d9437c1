import type { Extent } from '../lib/extents.ts';
import { fairTurn } from '../lib/turns.ts';
import type { BlobPart } from '../store/blobs.ts';
import { PartWriter } from './part-writer.ts';
import type { Stream } from './plan.ts';
import { upstreamBytes, type BytesRequest } from './source.ts';

/** So many are remembered: a reader at the head of the fill sends one while the next is under way. */
const MAX_WRITES = 2;

interface Write extends Extent {
  readonly chunks: readonly Buffer[];
}

/**
 * What a fill has written last, for the readers close behind it: they take it from memory instead of reading it back.
 * A slow fill writes little at a time, so that only of a fast one much is remembered.
 */
export class RecentWrites {
  readonly #writes: Write[] = [];

  add(written: Extent, chunks: readonly Buffer[]): void {
    this.#writes.push({ ...written, chunks });
    if (this.#writes.length > MAX_WRITES) this.#writes.shift();
  }

  /** The bytes from `position` on, at most `maxBytes` of them; nothing if they are not remembered. */
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

/** So much is received in one go: a socket hands over no more than this at a time, TLS a quarter. */
const PIECE_BYTES = 64 * 1024;

export interface FillSegmentOptions extends Omit<BytesRequest, 'limit' | 'signal'> {
  readonly part: BlobPart;
  /** What it is to ask for ends here, exclusive; Infinity if that is all there is. */
  readonly end: number;
  /** Where the segment has to stop, exclusive; undefined while the size of the blob is not known. */
  readonly limit: (segment: FillSegment) => number | undefined;
  readonly onWritten: (written: Extent) => void;
  /** The disk has refused a write, which `run` throws once it has ended. */
  readonly onFailed: (error: unknown) => void;
}

/** One request of a fill, which is made again where it breaks off: from its start to its end, or what is there already. */
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
