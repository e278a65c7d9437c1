import { fairTurn } from '../../lib/turns.ts';

/** Of a file, from a multiple of it on. */
export const BLOCK_BYTES = 256 * 1024;
const MAX_BLOCKS = 32;
/** Whoever wants less has asked for a small range (buffers have 64 KiB at least), which a whole block would be dear for. */
const MIN_LOADED_BYTES = 64 * 1024;
/** How long blocks stay although nobody asks for any. */
const IDLE_MS = 5000;

/** Reads up to `length` bytes at `position` into the start of `buffer`; resolves to how many, 0 at the end. */
export type Read = (buffer: Buffer, length: number, position: number) => Promise<number>;

interface Block {
  readonly bytes: Buffer;
  /** How many bytes it holds. */
  readonly filled: Promise<number>;
  isFilled: boolean;
  /** Who are about to copy from it. */
  users: number;
}

/**
 * What several readers of a file want at nearly the same time, as when a fleet pulls one image, is read once, and
 * copied from here for the others: a read of their own goes through the thread pool and back, which costs more than to
 * send what it brings. Blocks are those asked for last.
 */
export class SharedBlocks {
  readonly #blocks = new Map<string, Block>();
  readonly #spare: Buffer[] = [];
  #lastFile = 0;
  #idleTimer: NodeJS.Timeout | undefined;

  /** For one open file, all of whose bytes have to be final where they are read. */
  share(read: Read): Read {
    const file = ++this.#lastFile;
    return async (buffer, length, position) => {
      const index = Math.floor(position / BLOCK_BYTES);
      const key = `${file}:${index}`;
      if (length < MIN_LOADED_BYTES && !this.#blocks.has(key)) return read(buffer, length, position);
      const block = this.#block(key, read, index * BLOCK_BYTES);
      block.users++;
      try {
        // Nothing has to be waited for, and so others would never have their turn.
        if (block.isFilled) await fairTurn();
        // The disk may fail elsewhere in the block, where this reader wants nothing.
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
    // Those asked for last are at the end.
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

  /** What somebody is still about to copy from is left to the garbage collector. */
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
