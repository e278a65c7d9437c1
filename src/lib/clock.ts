import { setTimeout as delay } from 'node:timers/promises';

/** The time, for what takes hours. */
export interface Clock {
  /** Ms since the epoch. */
  now(): number;
  /** Rejects when the signal ends it. Keeps no process alive. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  now: Date.now,
  sleep: (ms, signal) => delay(ms, undefined, { signal, ref: false }),
};
