import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

/** Wall-clock time, for waits of hours. */
export interface Clock {
  /** Ms since the epoch. */
  now(): number;
  /** Rejects when `signal` is aborted. Does not keep the process alive. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

/**
 * How far the clocks of two servers may differ, or one clock before and after it was set. A time further ahead is
 * ignored: an entry that is fresh until then would be so for an unknown time.
 */
export const CLOCK_SKEW_MS = 60_000;

export const systemClock: Clock = {
  now: Date.now,
  sleep: (ms, signal) => delay(ms, undefined, { signal, ref: false }),
};

/**
 * A longer gap between two beats is a standstill and counts as one beat. On a busy machine each beat is a little
 * late.
 */
const MAX_GAP_BEATS = 2;
/** Timers of Node may fire this early by `performance.now()`. */
const EARLY_MS = 1;

/**
 * Time in which this process ran. When a stopped or starved process wakes, its timers are due before it has read the
 * answers in its sockets. By this clock no time has passed for it. Every limit on a network peer counts by it. It
 * beats only while a timer runs, so an idle process sleeps.
 */
export class RunningTime {
  readonly #beatMs: number;
  #beat: NodeJS.Timeout | undefined;
  #countedAt = 0;
  #countedMs = 0;
  #running = 0;

  /** Standstills shorter than two beats are not noticed. */
  constructor(options: { readonly beatMs: number }) {
    this.#beatMs = options.beatMs;
  }

  /** Calls `onDue` after `ms` of this time and one read of the sockets, unless the timer is stopped first. */
  timer(ms: number, onDue: () => void): RunningTimer {
    return new RunningTimer(this, { ms, onDue });
  }

  /** Only differences between two calls are meaningful. Time in which no timer ran counts for almost nothing. */
  now(): number {
    const at = performance.now();
    const gapMs = at - this.#countedAt;
    this.#countedMs += gapMs > this.#beatMs * MAX_GAP_BEATS ? this.#beatMs : gapMs;
    this.#countedAt = at;
    return this.#countedMs;
  }

  /** A timer has started. */
  begin(): void {
    this.#running++;
    if (this.#beat !== undefined) return;
    this.now();
    this.#beat = setInterval(() => this.#tick(), this.#beatMs).unref();
  }

  /** A timer has stopped. */
  end(): void {
    this.#running--;
  }

  #tick(): void {
    this.now();
    if (this.#running > 0) return;
    clearInterval(this.#beat);
    this.#beat = undefined;
  }
}

/** A timer of `RunningTime`. Like Node's timers, it keeps the process alive. */
export class RunningTimer {
  readonly #time: RunningTime;
  readonly #ms: number;
  readonly #onDue: () => void;
  #since: number;
  #timer: NodeJS.Timeout | undefined;
  #turn: NodeJS.Immediate | undefined;
  #stoppedAt: number | undefined;

  constructor(time: RunningTime, options: { readonly ms: number; readonly onDue: () => void }) {
    this.#time = time;
    this.#ms = options.ms;
    this.#onDue = options.onDue;
    time.begin();
    this.#since = time.now();
    this.#wait();
  }

  /** Since the start, or the last restart. */
  get elapsedMs(): number {
    return (this.#stoppedAt ?? this.#time.now()) - this.#since;
  }

  get remainingMs(): number {
    return Math.max(0, this.#ms - this.elapsedMs);
  }

  /** Starts the time again. Cheap enough to call for every chunk of a body. */
  restart(): void {
    if (this.#stoppedAt === undefined) this.#since = this.#time.now();
  }

  /** Safe to call more than once. */
  stop(): void {
    if (this.#stoppedAt !== undefined) return;
    this.#stoppedAt = this.#time.now();
    this.#time.end();
    clearTimeout(this.#timer);
    clearImmediate(this.#turn);
  }

  #wait(): void {
    this.#timer = setTimeout(() => this.#fired(), this.remainingMs);
  }

  /** Node reads the sockets between timers and immediates (libuv, "The I/O loop"). */
  #fired(): void {
    if (this.remainingMs > EARLY_MS) this.#wait();
    else this.#turn = setImmediate(() => this.#due());
  }

  #due(): void {
    if (this.remainingMs > EARLY_MS) {
      this.#wait();
      return;
    }
    this.stop();
    this.#onDue();
  }
}

/** For limits of seconds and more. */
export const runningTime = new RunningTime({ beatMs: 100 });

/** Empty: the system has no boot id. */
let boot: string | undefined;

/** The id of this boot of the machine; undefined if the system has none. */
export function thisBoot(): string | undefined {
  if (boot === undefined) {
    try {
      boot = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
    } catch {
      boot = '';
    }
  }
  return boot === '' ? undefined : boot;
}
