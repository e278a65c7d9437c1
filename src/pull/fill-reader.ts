import type { ByteRange } from '../oci/range.ts';
import type { BlobPart } from '../store/blob-store.ts';
import { BlobBodyError, isHeldBack, type BlobBody, type BlobSection } from './blob-body.ts';
import type { CacheStatus } from './cache-status.ts';
import type { FillProgress } from './fill-progress.ts';

/** One client that follows a running fill from its own offset. */
export class FillReader implements BlobBody {
  readonly size: number | undefined;
  readonly cache: CacheStatus;
  readonly #part: BlobPart;
  readonly #progress: FillProgress;
  readonly #onClose: () => void;
  #isClosed = false;
  #giveUp: (() => void) | undefined;

  constructor(options: { part: BlobPart; progress: FillProgress; cache: CacheStatus; onClose: () => void }) {
    this.#part = options.part;
    this.#progress = options.progress;
    this.#onClose = options.onClose;
    this.cache = options.cache;
    this.size = options.progress.size;
  }

  section(range: ByteRange | undefined): BlobSection {
    const isHeld = isHeldBack(range, this.size);
    let position = range?.start ?? 0;
    return {
      read: async (buffer) => {
        if (position === range?.end) return 0;
        const limit = await this.#limitBeyond(position, isHeld);
        const length = Math.min(
          buffer.length,
          (range === undefined ? limit : Math.min(limit, range.end)) - position,
        );
        if (length <= 0) return 0;
        const read = await this.#part.read(buffer, length, position);
        if (read === 0) throw new BlobBodyError('broken', 'the part file lost bytes that were written to it');
        position += read;
        return read;
      },
    };
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#giveUp?.();
    this.#onClose();
  }

  async #limitBeyond(position: number, isHeld: boolean): Promise<number> {
    for (;;) {
      if (this.#isClosed) throw new BlobBodyError('broken', 'the reader was closed');
      const limit = this.#progress.limit(isHeld);
      if (limit > position || this.#progress.isVerified) return limit;
      await new Promise<void>((resolve) => {
        const forget = this.#progress.onChange(resolve);
        this.#giveUp = () => {
          forget();
          resolve();
        };
      });
    }
  }
}
