import { write, writeSync } from 'node:fs';
import { errorCode } from '../lib/error-code.ts';
import type { ByteSink } from './line-batches.ts';

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
