/** Visits that are looked back at. */
const MAX_VISITS = 6;
/** Two equal gaps are the least that can be called a habit. */
const MIN_VISITS = 3;

/** When a tag may be wanted next; ms since the epoch. */
export interface Expectation {
  readonly from: number;
  readonly until: number;
}

/**
 * When a tag is asked for, as a rhythm. Requests within one ttl count as one visit, so a fleet that pulls at once
 * does not look like one that pulls every second. The next visit is expected one usual gap (the median) after the
 * last one. It is a habit if the last two gaps were that long to within a ttl: then a check in time would have been
 * of use both times.
 */
export class Habit {
  readonly #ttlMs: number;
  readonly #visits: number[] = [];

  constructor(ttlMs: number) {
    this.#ttlMs = ttlMs;
  }

  /** Somebody asks at `now`; ms since the epoch. */
  asked(now: number): void {
    const last = this.#visits.at(-1);
    if (last !== undefined && now - last < this.#ttlMs) return;
    this.#visits.push(now);
    if (this.#visits.length > MAX_VISITS) this.#visits.shift();
  }

  /** Undefined: there is no telling. A visit that fails to come is waited for a little, and then no longer. */
  next(): Expectation | undefined {
    const last = this.#visits.at(-1);
    if (last === undefined || this.#visits.length < MIN_VISITS) return undefined;
    const gaps = this.#visits.slice(1).map((visit, index) => visit - (this.#visits[index] ?? 0));
    const usual = median(gaps);
    if (gaps.slice(-2).some((gap) => Math.abs(gap - usual) > this.#ttlMs)) return undefined;
    return { from: last + usual - this.#ttlMs / 2, until: last + usual + this.#ttlMs * 1.5 };
  }
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}
