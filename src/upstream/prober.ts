const FIRST_PAUSE_MS = 500;
const PAUSE_GROWTH = 1.5;
const MAX_PAUSE_MS = 15_000;

/**
 * Asks a question in the background until it has its answer: at once, then after pauses that grow up to 15 s. Half
 * of a pause is random, so that many mirrors that lost one upstream do not come back to it together.
 */
export class Prober {
  readonly #ask: () => Promise<boolean>;
  #asked = 0;
  #isWanted = false;
  #isAsking = false;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  /** `ask` resolves to whether to ask again; it never rejects. */
  constructor(ask: () => Promise<boolean>) {
    this.#ask = ask;
  }

  /** Asks until it is stopped. While it does, this changes nothing. */
  start(): void {
    if (this.#isWanted || this.#isClosed) return;
    this.#isWanted = true;
    if (!this.#isAsking) this.#schedule();
  }

  stop(): void {
    this.#isWanted = false;
    clearTimeout(this.#timer);
  }

  /** Stops, and forgets how often it has asked, so that the next start asks at once. */
  reset(): void {
    this.stop();
    this.#asked = 0;
  }

  /** Stops for good. */
  close(): void {
    this.#isClosed = true;
    this.stop();
  }

  #schedule(): void {
    const grownMs = FIRST_PAUSE_MS * PAUSE_GROWTH ** (this.#asked - 1);
    const pauseMs = this.#asked === 0 ? 0 : Math.min(grownMs, MAX_PAUSE_MS);
    this.#timer = setTimeout(() => void this.#askOnce(), pauseMs * (0.5 + Math.random() / 2));
    this.#timer.unref();
  }

  async #askOnce(): Promise<void> {
    this.#isAsking = true;
    this.#asked++;
    const goesOn = await this.#ask();
    this.#isAsking = false;
    if (!this.#isWanted) return;
    if (goesOn) this.#schedule();
    else this.#isWanted = false;
  }
}
