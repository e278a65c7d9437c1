const MIN_SPACING_MS = 30_000;
const MAX_AGE_MS = 60 * 60_000;
/** Two pulls after a start are no rate: a forecast needs half an hour, or ten pulls. */
const ENOUGH_MS = 30 * 60_000;
const ENOUGH_PULLS = 10;
/** Ten pulls in a few seconds are one event, not a rate. */
const MIN_SPAN_MS = 5 * 60_000;

interface Sample {
  readonly at: number;
  readonly remaining: number;
}

/** Forecasts when a pull limit will be used up, at the rate of the last hour. */
export class Forecast {
  #samples: Sample[] = [];

  /** `at`: ms since the epoch. A count that rises begins a new window. */
  add(at: number, remaining: number): void {
    const last = this.#samples.at(-1);
    if (last !== undefined && remaining > last.remaining) this.#samples = [];
    const beforeLast = this.#samples.at(-2);
    // The first sample stays; later ones are thinned, and the newest is always kept.
    if (beforeLast !== undefined && at - beforeLast.at < MIN_SPACING_MS) this.#samples.pop();
    this.#samples.push({ at, remaining });
    this.#samples = this.#samples.filter((sample) => at - sample.at <= MAX_AGE_MS);
  }

  /** Ms since the epoch; undefined: not within `windowMs`, or too few pulls to say. */
  emptyAt(windowMs: number): number | undefined {
    const [first] = this.#samples;
    const last = this.#samples.at(-1);
    if (first === undefined || last === undefined) return undefined;
    const pulls = first.remaining - last.remaining;
    const seenMs = last.at - first.at;
    if (pulls <= 0 || (pulls < ENOUGH_PULLS && seenMs < ENOUGH_MS)) return undefined;
    const leftMs = (last.remaining * Math.max(seenMs, MIN_SPAN_MS)) / pulls;
    return leftMs < windowMs ? last.at + leftMs : undefined;
  }
}

/**
 * Counts pulls under this identity that Pierhead did not make: clients that bypass it on the same IP or account. Each
 * own pull is a credit for the count to fall by one. Docker Hub counts some pulls once per two GETs and its counts
 * lag, so one credit outlasts every reading. A count that rises is a new window and says nothing.
 */
export class BypassDetector {
  #last: number | undefined;
  #credit = 0;
  #running = 0;
  #elsewhere = 0;

  /** A pull of this server was sent. */
  began(): void {
    this.#credit++;
    this.#running++;
  }

  ended(): void {
    this.#running--;
  }

  /** Another server of the fleet pulled under the same identity. */
  spentElsewhere(pulls: number): void {
    this.#credit += pulls;
    this.#elsewhere += pulls;
  }

  /**
   * Takes a reading of the pulls left. Returns the number of pulls since the last reading that no server of the fleet
   * made.
   */
  read(remaining: number): number {
    const drop = this.#last === undefined ? 0 : Math.max(0, this.#last - remaining);
    const foreign = Math.max(0, drop - this.#credit);
    const left = Math.max(0, this.#credit - drop);
    this.#credit = Math.min(left, this.#running + this.#elsewhere + 1);
    this.#elsewhere = 0;
    this.#last = remaining;
    return foreign;
  }

  /** Takes a reading of another server, which has counted the pulls before it. */
  adopt(remaining: number): void {
    this.#last = remaining;
  }
}
