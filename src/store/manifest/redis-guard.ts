const FIRST_PAUSE_MS = 250;
const MAX_PAUSE_MS = 5000;

/**
 * Keeps a Redis that fails or hangs from being waited for at every turn: after a failure it is left alone for a
 * while that doubles with each further one, so that an outage costs one time limit per pause and not one per call.
 */
export class RedisGuard {
  readonly #now: () => number;
  #pauseMs = 0;
  #until = 0;

  constructor(now: () => number) {
    this.#now = now;
  }

  get isOpen(): boolean {
    return this.#now() < this.#until;
  }

  succeeded(): void {
    this.#pauseMs = 0;
    this.#until = 0;
  }

  failed(): void {
    this.#pauseMs = this.#pauseMs === 0 ? FIRST_PAUSE_MS : Math.min(this.#pauseMs * 2, MAX_PAUSE_MS);
    this.#until = this.#now() + this.#pauseMs * (0.75 + Math.random() / 2);
  }
}
