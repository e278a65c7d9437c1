const FIRST_PAUSE_MS = 500;
const PAUSE_GROWTH = 1.5;
const MAX_PAUSE_MS = 15_000;

/** What the prober has to do. */
export interface Probing {
  readonly isProbing: boolean;
  /** So many are sent already. */
  readonly probes: number;
}

/**
 * Sends probes, one at a time: the first at once, others after pauses that grow up to 15 s. Half of a pause is random,
 * so that many mirrors that lost one upstream do not come back to it together.
 */
export class Prober {
  readonly #probe: () => Promise<void>;
  #wanted: Probing = { isProbing: false, probes: 0 };
  #isAsking = false;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  /** `probe` never rejects. */
  constructor(probe: () => Promise<void>) {
    this.#probe = probe;
  }

  /** To be called whenever it has something else to do. */
  follow(wanted: Probing): void {
    this.#wanted = wanted;
    if (!wanted.isProbing) this.#stop();
    else if (this.#timer === undefined && !this.#isAsking && !this.#isClosed) this.#schedule();
  }

  /** Stops for good. */
  close(): void {
    this.#isClosed = true;
    this.#stop();
  }

  #stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #schedule(): void {
    const { probes } = this.#wanted;
    const grownMs = FIRST_PAUSE_MS * PAUSE_GROWTH ** (probes - 1);
    const pauseMs = probes === 0 ? 0 : Math.min(grownMs, MAX_PAUSE_MS);
    this.#timer = setTimeout(() => void this.#askOnce(), pauseMs * (0.5 + Math.random() / 2));
    this.#timer.unref();
  }

  async #askOnce(): Promise<void> {
    this.#timer = undefined;
    this.#isAsking = true;
    await this.#probe();
    this.#isAsking = false;
    this.follow(this.#wanted);
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
