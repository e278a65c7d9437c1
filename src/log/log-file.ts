import { write, writeSync } from 'node:fs';
import { errorCode } from '../lib/errors.ts';

/** Writes bytes to a file or a pipe, in order, without waiting. */
export interface ByteSink {
  write(bytes: Buffer): unknown;
  /** Calls `done` when all bytes are written, or the reader has gone. */
  flush(done: () => void): void;
  /** Returns when all bytes are written. */
  flushSync(): void;
}

/** No reader of a log notices this delay. */
const GATHER_MS = 10;
const BLOCK_BYTES = 64 * 1024;
/** UTF-8 needs at most 3 bytes for one UTF-16 unit. */
const MAX_BYTES_PER_UNIT = 3;

/**
 * Gathers log lines that come close together, because each write is a trip to another thread, which costs more than the
 * line. Lines wait as bytes, since V8 copies strings that survive a collection of the young generation.
 */
export class LineBatches {
  readonly #sink: ByteSink;
  #block = Buffer.alloc(0);
  /** The part of the block that the sink does not have yet. */
  #from = 0;
  #to = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(sink: ByteSink) {
    this.#sink = sink;
  }

  /** The first line is passed on at once and starts the timer for the lines after it. */
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

  /** Calls `done` when all lines so far are written, or the reader has gone. */
  flush(done: () => void): void {
    this.#pass();
    this.#sink.flush(done);
  }

  /** Returns when all lines so far are written, except those that another thread is writing now. */
  flushSync(): void {
    this.#pass();
    this.#sink.flushSync();
  }

  #goOn(): void {
    this.#timer = this.#pass() ? setTimeout(() => this.#goOn(), GATHER_MS).unref() : undefined;
  }

  /** False if no line waits. Bytes that the sink has do not change any more. */
  #pass(): boolean {
    if (this.#from === this.#to) return false;
    this.#sink.write(this.#block.subarray(this.#from, this.#to));
    this.#from = this.#to;
    return true;
  }
}

interface LogFileOptions {
  readonly fd: number;
  /** Most bytes that wait for a slow reader or a full disk. */
  readonly maxWaitingBytes: number;
  /** Called with the number of lost lines, once writing works again. */
  readonly onGap: (lines: number) => void;
}

const RETRY_MS = 100;
/** Time that the end of the program waits for a slow reader or a full disk. */
export const LAST_WAIT_MS = 1000;
const LAST_RETRY_MS = 10;
const LINE_END = 0x0a;

/**
 * The file or pipe of the log. It keeps lines that cannot be written yet and tries again. Beyond `maxWaitingBytes` lines
 * are lost. So a slow reader, a full disk or a reader that has gone does not stop the server.
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

  /** The reader has gone. */
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
   * For a process that ends now. Bytes that cannot be written within a second are lost. A write that runs on another thread
   * may come later than these bytes, or break off at a full pipe, because its result is not awaited.
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
      this.#reportGap();
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

  /** Waits until there is room for the line about the gap. */
  #reportGap(): void {
    const lines = this.#lostLines;
    if (lines === 0 || this.#queuedBytes > this.#options.maxWaitingBytes / 2) return;
    this.#lostLines = 0;
    this.#options.onGap(lines);
  }
}

/** False if writing failed, or did not end by `until`. */
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
