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
