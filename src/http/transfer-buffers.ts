import { BufferPool } from '../lib/buffer-pool.ts';

export interface TransferBuffersOptions {
  /** How many transfers at a time get large buffers. */
  readonly maxLarge: number;
  readonly largeBytes: number;
  readonly smallBytes: number;
}

/** What one transfer works with: one buffer is read into while the other is on its way to the socket. */
export interface Loan {
  readonly pair: readonly [Buffer, Buffer];
  /** Nothing refers to the buffers any more: others can have them. */
  giveBack(): void;
  /** The transfer is over, however it ended. Safe to call more than once. */
  end(): void;
}

/**
 * Lends buffers to transfers. Large ones are what a fast client needs, and few fast clients are enough to keep the
 * machine busy; when there are many transfers, most of them wait for slow clients, and their memory is what counts.
 */
export class TransferBuffers {
  readonly #maxLarge: number;
  readonly #large: BufferPool;
  readonly #small: BufferPool;
  #largeTransfers = 0;

  constructor({ maxLarge, largeBytes, smallBytes }: TransferBuffersOptions) {
    this.#maxLarge = maxLarge;
    this.#large = new BufferPool({ bufferBytes: largeBytes, maxIdle: 2 * maxLarge });
    this.#small = new BufferPool({ bufferBytes: smallBytes, maxIdle: 2 * maxLarge });
  }

  lend(): Loan {
    const isLarge = this.#largeTransfers < this.#maxLarge;
    if (isLarge) this.#largeTransfers++;
    let isOver = false;
    const pool = isLarge ? this.#large : this.#small;
    const pair = [pool.take(), pool.take()] as const;
    return {
      pair,
      giveBack: () => pair.forEach((buffer) => pool.give(buffer)),
      end: () => {
        if (isLarge && !isOver) this.#largeTransfers--;
        isOver = true;
      },
    };
  }
}
