const MIN_SPACING_MS = 30_000;
const MAX_AGE_MS = 60 * 60_000;
/** Two images pulled after a start are no rate: it takes half an hour, or ten pulls. */
const ENOUGH_MS = 30 * 60_000;
const ENOUGH_PULLS = 10;
/** Ten pulls in a few seconds are one event, not a rate of hundreds a minute. */
const MIN_SPAN_MS = 5 * 60_000;

interface Sample {
  readonly at: number;
  readonly remaining: number;
}

/** When a pull limit will be used up at the rate of the last hour. */
export class Forecast {
  #samples: Sample[] = [];

  /** `at`: ms since the epoch. A count that rises begins a new window. */
  add(at: number, remaining: number): void {
    const last = this.#samples.at(-1);
    if (last !== undefined && remaining > last.remaining) this.#samples = [];
    const beforeLast = this.#samples.at(-2);
    // The first sample stays where it is; later ones are thinned, the newest always kept.
    if (beforeLast !== undefined && at - beforeLast.at < MIN_SPACING_MS) this.#samples.pop();
    this.#samples.push({ at, remaining });
    this.#samples = this.#samples.filter((sample) => at - sample.at <= MAX_AGE_MS);
  }

  /** Ms since the epoch; undefined: not within `windowMs`, by when there are pulls again, or too little is known. */
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
 * Finds pulls under our identity that we did not make: somebody behind the same address, or with the same account,
 * goes around the mirror. Every own pull is credit for the count to fall by one. Docker Hub counts some pulls once per
 * two GETs and is not always up to date, so one pull of credit outlasts every reading; a count that rises is a new
 * window and says nothing.
 */
export class BypassDetector {
  #last: number | undefined;
  #credit = 0;
  #running = 0;
  #elsewhere = 0;

  /** A pull of ours is on its way. */
  began(): void {
    this.#credit++;
    this.#running++;
  }

  ended(): void {
    this.#running--;
  }

  /** Another server of the fleet has pulled under the same identity. */
  spentElsewhere(pulls: number): void {
    this.#credit += pulls;
    this.#elsewhere += pulls;
  }

  /** Upstream says so many are left. Gives how many of those that are gone nobody of us has made. */
  read(remaining: number): number {
    const drop = this.#last === undefined ? 0 : Math.max(0, this.#last - remaining);
    const foreign = Math.max(0, drop - this.#credit);
    const left = Math.max(0, this.#credit - drop);
    this.#credit = Math.min(left, this.#running + this.#elsewhere + 1);
    this.#elsewhere = 0;
    this.#last = remaining;
    return foreign;
  }

  /** What another server has read: what went before is its to judge. */
  adopt(remaining: number): void {
    this.#last = remaining;
  }
}
