/** What Docker Hub asks for by `Retry-After` when it does; doubled each time that it limits us again. */
const DEFAULT_PAUSE_MS = 60_000;
const MAX_DEFAULT_PAUSE_MS = 15 * 60_000;
/** A `Retry-After` is not taken for less, or for more than the longest window that Docker Hub counts in. */
const MIN_PAUSE_MS = 1000;
const MAX_PAUSE_MS = 6 * 60 * 60_000;

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
        : Math.min(Math.max(retryAfterMs, MIN_PAUSE_MS), MAX_PAUSE_MS);
    this.#until = Math.max(this.#until, this.#now() + pauseMs);
    this.#strikes++;
  }
}
