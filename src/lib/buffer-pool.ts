/** Buffers of one size that are used again: allocating and collecting them costs more than what they carry. */
export class BufferPool {
  readonly #size: number;
  readonly #maxIdle: number;
  readonly #idle: Buffer[] = [];

  constructor(options: { bufferBytes: number; maxIdle: number }) {
    this.#size = options.bufferBytes;
    this.#maxIdle = options.maxIdle;
  }

  take(): Buffer {
    return this.#idle.pop() ?? Buffer.allocUnsafeSlow(this.#size);
  }

  /** Gives a buffer back that nothing refers to any more. */
  give(buffer: Buffer): void {
    if (this.#idle.length < this.#maxIdle) this.#idle.push(buffer);
  }
}
