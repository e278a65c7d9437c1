const MIN_SPACING_MS = 30_000;
const MAX_AGE_MS = 60 * 60_000;
/** A few pulls in a few seconds are no rate. */
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

  /** Ms since the epoch; undefined: not within `windowMs`, by when there are pulls again. */
  emptyAt(windowMs: number): number | undefined {
    const [first] = this.#samples;
    const last = this.#samples.at(-1);
    if (first === undefined || last === undefined || first.remaining <= last.remaining) return undefined;
    const spanMs = Math.max(last.at - first.at, MIN_SPAN_MS);
    const leftMs = (last.remaining * spanMs) / (first.remaining - last.remaining);
    return leftMs < windowMs ? last.at + leftMs : undefined;
  }
}
