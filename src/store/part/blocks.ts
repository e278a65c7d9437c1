import { fairTurn } from '../../lib/turns.ts';

/** A block of a file begins at a multiple of its size. */
export const BLOCK_BYTES = 256 * 1024;
const MAX_BLOCKS = 32;
/** Shorter reads do not load a block. Buffers have at least 64 KiB, so a shorter read is for a small range. */
const MIN_LOADED_BYTES = 64 * 1024;
/** How long blocks stay in memory without a read. */
const IDLE_MS = 5000;

/** Reads up to `length` bytes at `position` into the start of `buffer`; resolves to their number, 0 at the end. */
export type Read = (buffer: Buffer, length: number, position: number) => Promise<number>;

interface Block {
  readonly bytes: Buffer;
  /** Resolves to the number of bytes in the block. */
  readonly filled: Promise<number>;
  isFilled: boolean;
  /** Number of readers that will copy from it. */
  users: number;
}

/**
 * Reads a block once for several readers of a file that read it at nearly the same time, as when many clients pull one
 * image. A read through the thread pool costs more than sending its bytes. The last used blocks stay in memory.
 */
export class SharedBlocks {
  readonly #blocks = new Map<string, Block>();
  readonly #spare: Buffer[] = [];
  #lastFile = 0;
  #idleTimer: NodeJS.Timeout | undefined;

  /** For one open file. The bytes that are read must not change any more. */
  share(read: Read): Read {
    const file = ++this.#lastFile;
    return async (buffer, length, position) => {
      const index = Math.floor(position / BLOCK_BYTES);
      const key = `${file}:${index}`;
      if (length < MIN_LOADED_BYTES && !this.#blocks.has(key)) return read(buffer, length, position);
      const block = this.#block(key, read, index * BLOCK_BYTES);
      block.users++;
      try {
        // A filled block needs no waiting, so one reader could block all others.
        if (block.isFilled) await fairTurn();
        // The disk may have failed at another place of the block, which this reader does not read.
        const end = await block.filled.catch(() => undefined);
        if (end === undefined) return await read(buffer, length, position);
        const offset = position - index * BLOCK_BYTES;
        return block.bytes.copy(buffer, 0, offset, Math.min(end, offset + length));
      } finally {
        block.users--;
      }
    };
  }

  #block(key: string, read: Read, start: number): Block {
    const found = this.#blocks.get(key);
    // The last used blocks are at the end of the map.
    if (found !== undefined) this.#blocks.delete(key);
    const block = found ?? this.#load(key, read, start);
    this.#blocks.set(key, block);
    this.#trim(MAX_BLOCKS);
    this.#idleTimer?.refresh();
    this.#idleTimer ??= setTimeout(() => this.#clear(), IDLE_MS).unref();
    return block;
  }

  #load(key: string, read: Read, start: number): Block {
    const bytes = this.#spare.pop() ?? Buffer.allocUnsafeSlow(BLOCK_BYTES);
    const filled = fill(bytes, read, start);
    const block: Block = { bytes, filled, isFilled: false, users: 0 };
    filled.then(
      () => {
        block.isFilled = true;
      },
      () => {
        if (this.#blocks.get(key) === block) this.#blocks.delete(key);
      },
    );
    return block;
  }

  /** A buffer that a reader still uses is left to the garbage collector. */
  #trim(maxBlocks: number): void {
    for (const [key, block] of this.#blocks) {
      if (this.#blocks.size <= maxBlocks) return;
      this.#blocks.delete(key);
      if (block.isFilled && block.users === 0) this.#spare.push(block.bytes);
    }
  }

  #clear(): void {
    this.#idleTimer = undefined;
    this.#trim(0);
    this.#spare.length = 0;
  }
}

async function fill(bytes: Buffer, read: Read, start: number): Promise<number> {
  let end = 0;
  while (end < bytes.length) {
    const count = await read(bytes.subarray(end), bytes.length - end, start + end);
    if (count === 0) break;
    end += count;
  }
  return end;
}
