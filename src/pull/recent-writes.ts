import type { Extent } from '../lib/extents.ts';

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
