import { runningTime, type RunningTimer } from '../../lib/clock.ts';
import { unavailable } from '../upstream.ts';

interface TimeLimitOptions {
  readonly ms: number;
  /** Ends the limit early. */
  readonly signal?: AbortSignal | undefined;
  /** The limit at its start, of which `ms` are left; default `ms`. */
  readonly totalMs?: number;
}

/**
 * The time limit of one request, in running time of this process, with the caller's signal to stop earlier. Call
 * `end()` after the response.
 */
export class TimeLimit {
  readonly #abort = new AbortController();
  readonly #ms: number;
  readonly #timer: RunningTimer;
  readonly #callerSignal: AbortSignal | undefined;
  readonly #stop: () => void;
  #isLate = false;

  constructor({ ms, signal, totalMs = ms }: TimeLimitOptions) {
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

  /** The limit at its start. */
  get totalMs(): number {
    return this.#ms;
  }

  get remainingMs(): number {
    return this.#timer.remainingMs;
  }

  /** The rest of the limit, for one of several tries. `signal` ends that try alone. */
  part(signal: AbortSignal): TimeLimit {
    return new TimeLimit({ ms: this.remainingMs, totalMs: this.#ms, signal });
  }

  /**
   * Resolves as `promise` does, if in time; `promise` itself goes on. Throws UpstreamFailure that names `host` as
   * late, or the reason of the caller's signal.
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
