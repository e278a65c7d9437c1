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
