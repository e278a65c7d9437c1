/** Takes bytes to a file or a pipe, in their order, and waits for nothing. */
export interface ByteSink {
  write(bytes: Buffer): unknown;
  /** Calls back when all is written, or nobody will read it. */
  flush(done: () => void): void;
  /** Returns when all is written. */
  flushSync(): void;
}

/** Nobody who reads a log sees the difference. */
const GATHER_MS = 10;
const BLOCK_BYTES = 64 * 1024;
/** UTF-8 takes no more for what is one unit of a string. */
const MAX_BYTES_PER_UNIT = 3;

/**
 * Gathers the lines of a log for some milliseconds once they come thick and fast: each write is a trip to another thread,
 * and that is dearer than the line. They are kept as bytes, since strings that outlive a collection of the young are
 * copied by it.
 */
export class LineBatches {
  readonly #sink: ByteSink;
  #block = Buffer.alloc(0);
  /** What of the block is not with the sink yet. */
  #from = 0;
  #to = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(sink: ByteSink) {
    this.#sink = sink;
  }

  /** The first one goes on at once, and with it what is to come has its time. */
  write(line: string): void {
    const most = line.length * MAX_BYTES_PER_UNIT;
    if (this.#to + most > this.#block.length) {
      this.#pass();
      this.#block = Buffer.allocUnsafeSlow(Math.max(BLOCK_BYTES, most));
      this.#from = this.#to = 0;
    }
    this.#to += this.#block.write(line, this.#to);
    if (this.#timer === undefined) this.#goOn();
  }

  /** Calls back when every line so far is written, or nobody will read it. */
  flush(done: () => void): void {
    this.#pass();
    this.#sink.flush(done);
  }

  /** Returns when every line so far is written, but for what another thread is writing just then. */
  flushSync(): void {
    this.#pass();
    this.#sink.flushSync();
  }

  #goOn(): void {
    this.#timer = this.#pass() ? setTimeout(() => this.#goOn(), GATHER_MS).unref() : undefined;
  }

  /** False: there was nothing. Bytes that the sink has are not touched again. */
  #pass(): boolean {
    if (this.#from === this.#to) return false;
    this.#sink.write(this.#block.subarray(this.#from, this.#to));
    this.#from = this.#to;
    return true;
  }
}
