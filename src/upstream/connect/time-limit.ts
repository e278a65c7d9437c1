import { runningTime, type RunningTimer } from '../../lib/clock.ts';
import { unavailable } from '../upstream.ts';

export interface TimeLimitOptions {
  readonly ms: number;
  /** The caller's wish to stop earlier. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * How long one question may take in all, by the time in which this process runs, and its caller's wish to stop earlier.
 * `end()` it when it has its answer.
 */
export class TimeLimit {
  readonly #abort = new AbortController();
  readonly #ms: number;
  readonly #timer: RunningTimer;
  readonly #callerSignal: AbortSignal | undefined;
  readonly #stop: () => void;
  #isLate = false;

  /** `totalMs`: what it was at its start, of which `ms` are left. */
  constructor({ ms, signal, totalMs = ms }: TimeLimitOptions & { readonly totalMs?: number }) {
    this.#ms = totalMs;
    this.#timer = runningTime.timer(ms, () => {
      this.#isLate = true;
      this.#abort.abort();
    });
    this.#callerSignal = signal;
    this.#stop = () => this.#abort.abort();
    if (signal?.aborted) this.#stop();
    else signal?.addEventListener('abort', this.#stop, { once: true });
  }

  /** How long it was at its start. */
  get totalMs(): number {
    return this.#ms;
  }

  get remainingMs(): number {
    return this.#timer.remainingMs;
  }

  /** What is left of it, for one of several tries, which `signal` ends alone. */
  part(signal: AbortSignal): TimeLimit {
    return new TimeLimit({ ms: this.remainingMs, totalMs: this.#ms, signal });
  }

  /**
   * What `promise` resolves to, if that comes in time; `promise` itself goes on. Throws UpstreamFailure, which names
   * `host` as the one who is late, or the reason of the caller's signal.
   */
  wait<T>(promise: Promise<T>, host: string): Promise<T> {
    const { signal } = this.#abort;
    return new Promise((resolve, reject) => {
      const stop = (): void => reject(this.#isLate ? this.#lateness(host) : this.#callerSignal?.reason);
      if (signal.aborted) stop();
      signal.addEventListener('abort', stop, { once: true });
      const settled = (): void => signal.removeEventListener('abort', stop);
      promise.then(resolve, reject).then(settled, settled);
    });
  }

  end(): void {
    this.#timer.stop();
    this.#callerSignal?.removeEventListener('abort', this.#stop);
  }

  #lateness(host: string): Error {
    return unavailable('timeout', `${host} did not answer within ${this.#ms / 1000} s`);
  }
}
