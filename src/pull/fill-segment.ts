import { bulkTurn } from '../lib/bulk-turn.ts';
import type { Extent } from '../lib/extents.ts';
import type { BlobPart } from '../store/blob-store.ts';
import type { Stream } from './fill-plan.ts';
import { PartWriter } from './part-writer.ts';
import { RecentWrites } from './recent-writes.ts';
import { upstreamBytes, type BytesRequest } from './upstream-bytes.ts';

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
        await bulkTurn();
      }
    } finally {
      await writer.flush();
    }
  }

  stop(): void {
    this.#abort.abort();
  }
}
