import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

/** The time, for what takes hours. */
export interface Clock {
  /** Ms since the epoch. */
  now(): number;
  /** Rejects when the signal ends it. Keeps no process alive. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

/**
 * How far clocks may be apart, those of servers or one before and after it was set. A time that lies further ahead is
 * not believed: what is fresh or true until then would be so for who knows how long.
 */
export const CLOCK_SKEW_MS = 60_000;

export const systemClock: Clock = {
  now: Date.now,
  sleep: (ms, signal) => delay(ms, undefined, { signal, ref: false }),
};

/** A longer gap between two beats is a standstill, and counts as one beat. On a busy machine each is a little late. */
const MAX_GAP_BEATS = 2;
/** Timers of Node may fire so much early by the clock that measures them. */
const EARLY_MS = 1;

/**
 * Time in which this process ran. A stopped or starved process finds its timers due when it wakes, before it has read
 * the answers that lie in its sockets: by this clock no time has passed for it. Whatever limits what comes from outside
 * counts by it. It beats only while something is limited, so an idle process sleeps.
 */
export class RunningTime {
  readonly #beatMs: number;
  #beat: NodeJS.Timeout | undefined;
  #countedAt = 0;
  #countedMs = 0;
  #running = 0;

  /** Standstills that are shorter than two beats go unnoticed. */
  constructor(options: { readonly beatMs: number }) {
    this.#beatMs = options.beatMs;
  }

  /** Calls `onDue` after `ms` of this time, once the sockets have had a turn; unless it is stopped before. */
  timer(ms: number, onDue: () => void): RunningTimer {
    return new RunningTimer(this, { ms, onDue });
  }

  /** Only differences say something; a time in which no timer ran counts for next to nothing. */
  now(): number {
    const at = performance.now();
    const gapMs = at - this.#countedAt;
    this.#countedMs += gapMs > this.#beatMs * MAX_GAP_BEATS ? this.#beatMs : gapMs;
    this.#countedAt = at;
    return this.#countedMs;
  }

  /** A timer runs from now on. */
  begin(): void {
    this.#running++;
    if (this.#beat !== undefined) return;
    this.now();
    this.#beat = setInterval(() => this.#tick(), this.#beatMs).unref();
  }

  /** One that ran has stopped. */
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

/** Ends a wait. It keeps the process alive, as Node's timers do. */
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

  /** Begins anew, as for a sign of life; cheap enough for every chunk of a body. */
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

  /** What has come by now is read between timers and immediates (libuv, "The I/O loop"). */
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

/** For limits of seconds. */
export const runningTime = new RunningTime({ beatMs: 100 });

/** Empty: the system does not say. */
let boot: string | undefined;

/** What tells this run of the machine from others; undefined where the system does not say. */
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
