import { AsyncLocalStorage } from 'node:async_hooks';

/** A timer may end a wait so much early by the clock that measures it, and what is left is no time to ask in. */
const NONE_BELOW_MS = 1;

/**
 * How long one request may wait for Redis in all, however many calls it takes: each of them may be in time, and all of
 * them together make a client wait that would be served without.
 */
export class RedisAllowance {
  readonly #ms: number;
  readonly #requests = new AsyncLocalStorage<{ leftMs: number }>();

  constructor(ms: number) {
    this.#ms = ms;
  }

  /** Does the work of one request. What it leaves to be done behind its back keeps nobody waiting, and is not limited. */
  async during<T>(work: () => Promise<T>): Promise<T> {
    const request = { leftMs: this.#ms };
    try {
      return await this.#requests.run(request, work);
    } finally {
      request.leftMs = Infinity;
    }
  }

  get leftMs(): number {
    return this.#requests.getStore()?.leftMs ?? Infinity;
  }

  waited(ms: number): void {
    const request = this.#requests.getStore();
    if (request === undefined) return;
    request.leftMs -= ms;
    if (request.leftMs < NONE_BELOW_MS) request.leftMs = 0;
  }
}
