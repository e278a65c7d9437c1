import { write, writeSync } from 'node:fs';
import { errorCode } from '../lib/errors.ts';

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

export interface LogFileOptions {
  readonly fd: number;
  /** What may wait for a reader that is slow, or for a disk that is full. */
  readonly maxWaitingBytes: number;
  /** Called once it writes again with how many lines it could not keep until then. */
  readonly onGap: (lines: number) => void;
}

const RETRY_MS = 100;
/** How long the end of the program waits for a reader that is slow or a disk that is full. */
export const LAST_WAIT_MS = 1000;
const LAST_RETRY_MS = 10;
const LINE_END = 0x0a;

/**
 * The file or pipe that a log goes to. It keeps what cannot be written yet and tries again, and lets go of what comes when
 * that is too much: whoever reads a log slowly, a full disk and a reader that has gone stop no server.
 */
export class LogFile implements ByteSink {
  readonly #options: LogFileOptions;
  #queue: Buffer[] = [];
  #queuedBytes = 0;
  #isWriting = false;
  #isBroken = false;
  #lostLines = 0;
  #onIdle: (() => void)[] = [];

  constructor(options: LogFileOptions) {
    this.#options = options;
  }

  /** Nobody reads it any more. */
  get isBroken(): boolean {
    return this.#isBroken;
  }

  write(bytes: Buffer): void {
    if (this.#isBroken) return;
    if (this.#queuedBytes + bytes.length > this.#options.maxWaitingBytes) {
      this.#lostLines += linesIn(bytes);
      return;
    }
    this.#queue.push(bytes);
    this.#queuedBytes += bytes.length;
    if (!this.#isWriting) this.#next();
  }

  flush(done: () => void): void {
    this.#onIdle.push(done);
    if (!this.#isWriting) this.#idle();
  }

  /**
   * For a program that cannot wait any more. What cannot be written within a second is lost, and what is being written
   * may be overtaken, or broken off where a pipe is full: nobody hears any more how much of it went through.
   */
  flushSync(): void {
    const queue = this.#queue;
    this.#queue = [];
    this.#queuedBytes = 0;
    const until = performance.now() + LAST_WAIT_MS;
    for (const bytes of queue) {
      if (!writeAllSync(this.#options.fd, bytes, until)) return;
    }
  }

  #next(): void {
    const bytes = this.#queue.shift();
    this.#isWriting = bytes !== undefined;
    if (bytes === undefined) this.#idle();
    else write(this.#options.fd, bytes, (error, count) => this.#wrote(bytes, error, count));
  }

  #wrote(bytes: Buffer, error: NodeJS.ErrnoException | null, count = 0): void {
    this.#queuedBytes -= count;
    const rest = bytes.subarray(count);
    if (rest.length > 0) this.#queue.unshift(rest);
    if (error?.code === 'EPIPE') this.#break();
    else if (error !== null) setTimeout(() => this.#next(), RETRY_MS).unref();
    else {
      this.#tellGap();
      this.#next();
    }
  }

  #break(): void {
    this.#isBroken = true;
    this.#isWriting = false;
    this.#queue = [];
    this.#idle();
  }

  #idle(): void {
    const waiting = this.#onIdle;
    this.#onIdle = [];
    for (const done of waiting) done();
  }

  /** Not before there is room for that, too. */
  #tellGap(): void {
    const lines = this.#lostLines;
    if (lines === 0 || this.#queuedBytes > this.#options.maxWaitingBytes / 2) return;
    this.#lostLines = 0;
    this.#options.onGap(lines);
  }
}

/** False if it could not. */
function writeAllSync(fd: number, bytes: Buffer, until: number): boolean {
  let rest = bytes;
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(fd, rest));
    } catch (error) {
      if (errorCode(error) !== 'EAGAIN' || performance.now() > until) return false;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LAST_RETRY_MS);
    }
  }
  return true;
}

function linesIn(bytes: Buffer): number {
  let lines = 0;
  for (let at = bytes.indexOf(LINE_END); at >= 0; at = bytes.indexOf(LINE_END, at + 1)) lines++;
  return lines;
}
