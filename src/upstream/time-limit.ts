import { unavailable } from './outcome.ts';

/** How long one question may take in all, and its caller's wish to stop earlier. `end()` it when it has its answer. */
export class TimeLimit {
  readonly #abort = new AbortController();
  readonly #ms: number;
  readonly #endsAt: number;
  readonly #timer: NodeJS.Timeout;
  readonly #callerSignal: AbortSignal | undefined;
  readonly #stop: () => void;
  #isLate = false;

  constructor(options: { readonly ms: number; readonly signal?: AbortSignal | undefined }) {
    const { ms, signal } = options;
    this.#ms = ms;
    this.#endsAt = performance.now() + ms;
    this.#timer = setTimeout(() => {
      this.#isLate = true;
      this.#abort.abort();
    }, ms);
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
    return this.#endsAt - performance.now();
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
    clearTimeout(this.#timer);
    this.#callerSignal?.removeEventListener('abort', this.#stop);
  }

  #lateness(host: string): Error {
    return unavailable('timeout', `${host} did not answer within ${this.#ms / 1000} s`);
  }
}
