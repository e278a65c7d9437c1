import type { Extent } from '../lib/extents.ts';
import { release } from '../lib/receive-buffers.ts';

interface Write extends Extent {
  readonly chunks: readonly Buffer[];
}

/** The last written bytes of one writer, in memory. Readers close behind need not wait for the disk. */
export class RecentWrites {
  readonly #maxBytes: () => number;
  readonly #writes: Write[] = [];
  #bytes = 0;

  /** Keeps the last write in any case, and those before it as far as all have no more than `maxBytes`. */
  constructor(maxBytes: () => number) {
    this.#maxBytes = maxBytes;
  }

  /** Becomes the holder of the chunks in place of the caller. */
  add({ start, end }: Extent, chunks: readonly Buffer[]): void {
    this.#writes.push({ start, end, chunks });
    this.#bytes += end - start;
    while (this.#bytes > this.#maxBytes() && this.#writes.length > 1) this.#drop();
  }

  clear(): void {
    while (this.#writes.length > 0) this.#drop();
  }

  /** At most `maxBytes` from `position` on; nothing if these bytes are no longer in memory. */
  from(position: number, maxBytes: number): readonly Buffer[] {
    const write = this.#writes.find(({ start, end }) => start <= position && position < end);
    return write === undefined ? [] : slice(write.chunks, position - write.start, maxBytes);
  }

  #drop(): void {
    const write = this.#writes.shift();
    if (write === undefined) return;
    this.#bytes -= write.end - write.start;
    write.chunks.forEach(release);
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
