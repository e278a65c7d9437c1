const FIRST_PAUSE_MS = 500;
const PAUSE_GROWTH = 1.5;
const MAX_PAUSE_MS = 15_000;

/** The work of the prober. */
export interface Probing {
  readonly isProbing: boolean;
  /** Probes sent so far. */
  readonly probes: number;
}

/**
 * Sends probes one at a time: the first at once, others after pauses that grow to 15 s. Half of a pause is random, so
 * that many mirrors do not return to one upstream together.
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

  /** Call when the work changes. */
  follow(wanted: Probing): void {
    this.#wanted = wanted;
    if (!wanted.isProbing) this.#stop();
    else if (this.#timer === undefined && !this.#isAsking && !this.#isClosed) this.#schedule();
  }

  /** Stops forever. */
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

/** Docker Hub's usual `Retry-After`, taken if a 429 has none; doubled each time in a row. */
const DEFAULT_PAUSE_MS = 60_000;
const MAX_DEFAULT_PAUSE_MS = 15 * 60_000;
/** Bounds of a `Retry-After`. The upper one is the longest window of Docker Hub. */
const MIN_PAUSE_MS = 1000;
const MAX_LIMIT_PAUSE_MS = 6 * 60 * 60_000;

/** A limit on all requests to a server (429): nothing is sent until it ends. */
export class AbuseLimit {
  readonly #now: () => number;
  #until = 0;
  #strikes = 0;

  /** `now`: ms since the epoch. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** The time left; undefined: no limit. */
  remainingMs(): number | undefined {
    const leftMs = this.#until - this.#now();
    return leftMs > 0 ? leftMs : undefined;
  }

  /** End of the limit; ms since the epoch. */
  get until(): number {
    return this.#until;
  }

  /** The server has answered 429, perhaps with a `Retry-After`. */
  hit(retryAfterMs: number | undefined): void {
    // Older limits do not count towards the doubling.
    if (this.#now() - this.#until > MAX_DEFAULT_PAUSE_MS) this.#strikes = 0;
    const pauseMs =
      retryAfterMs === undefined
        ? Math.min(DEFAULT_PAUSE_MS * 2 ** this.#strikes, MAX_DEFAULT_PAUSE_MS)
        : Math.min(Math.max(retryAfterMs, MIN_PAUSE_MS), MAX_LIMIT_PAUSE_MS);
    this.#until = Math.max(this.#until, this.#now() + pauseMs);
    this.#strikes++;
  }
}
