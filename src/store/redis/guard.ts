const FIRST_PAUSE_MS = 250;
const MAX_PAUSE_MS = 5000;
/** The share of a call in the mean: high enough that a few slow ones show, low enough that a single one does not. */
const WEIGHT = 0.3;

export interface GuardOptions {
  /** Asks Redis for a sign of life; true if it came in time. */
  readonly probe: () => Promise<boolean>;
  /** Calls that take longer than this on the average are not worth waiting for. */
  readonly slowMs: number;
}

/**
 * Keeps a Redis that hangs or is slow from being waited for. After a failure nobody waits at all: it is probed in
 * the background, with pauses that double, and used again when it answers in time. So an outage costs those who
 * were waiting at its beginning one time limit, and nobody else anything.
 */
export class RedisGuard {
  readonly #options: GuardOptions;
  #pauseMs = 0;
  #meanMs = 0;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(options: GuardOptions) {
    this.#options = options;
  }

  get isOpen(): boolean {
    return this.#timer !== undefined;
  }

  /** A call was answered after so long. False: it has become too slow, and is left alone from now on. */
  answered(ms: number): boolean {
    this.#meanMs = this.#meanMs * (1 - WEIGHT) + ms * WEIGHT;
    if (this.#meanMs <= this.#options.slowMs) return true;
    this.failed();
    return false;
  }

  failed(): void {
    if (this.isOpen || this.#isClosed) return;
    this.#pauseMs = FIRST_PAUSE_MS;
    this.#wait();
  }

  /** There is a new connection: what was known of the last one does not count. */
  reset(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#meanMs = 0;
  }

  close(): void {
    this.#isClosed = true;
    this.reset();
  }

  #wait(): void {
    const timer = setTimeout(() => void this.#probe(timer), this.#pauseMs * (0.75 + Math.random() / 2));
    timer.unref();
    this.#timer = timer;
  }

  async #probe(timer: NodeJS.Timeout): Promise<void> {
    const isAlive = await this.#options.probe();
    if (this.#timer !== timer) return;
    if (isAlive) {
      this.reset();
      return;
    }
    this.#pauseMs = Math.min(this.#pauseMs * 2, MAX_PAUSE_MS);
    this.#wait();
  }
}
