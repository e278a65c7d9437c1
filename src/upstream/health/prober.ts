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

/** What Docker Hub asks for by `Retry-After` when it does; doubled each time that it limits us again. */
const DEFAULT_PAUSE_MS = 60_000;
const MAX_DEFAULT_PAUSE_MS = 15 * 60_000;
/** A `Retry-After` is not taken for less, or for more than the longest window that Docker Hub counts in. */
const MIN_PAUSE_MS = 1000;
const MAX_LIMIT_PAUSE_MS = 6 * 60 * 60_000;

/** The wish of a server to be left alone, whatever the request (429): until its time is over nothing is sent. */
export class AbuseLimit {
  readonly #now: () => number;
  #until = 0;
  #strikes = 0;

  /** `now`: ms since the epoch. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** How long it lasts still; undefined: there is none. */
  remainingMs(): number | undefined {
    const leftMs = this.#until - this.#now();
    return leftMs > 0 ? leftMs : undefined;
  }

  /** When it ends; ms since the epoch. */
  get until(): number {
    return this.#until;
  }

  /** The server has said 429, and how long to wait if it did. */
  hit(retryAfterMs: number | undefined): void {
    // What happened so long ago has nothing to do with this.
    if (this.#now() - this.#until > MAX_DEFAULT_PAUSE_MS) this.#strikes = 0;
    const pauseMs =
      retryAfterMs === undefined
        ? Math.min(DEFAULT_PAUSE_MS * 2 ** this.#strikes, MAX_DEFAULT_PAUSE_MS)
        : Math.min(Math.max(retryAfterMs, MIN_PAUSE_MS), MAX_LIMIT_PAUSE_MS);
    this.#until = Math.max(this.#until, this.#now() + pauseMs);
    this.#strikes++;
  }
}
