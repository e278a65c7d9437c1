/** Random choices that are the same again for the same seed (Mulberry32). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** From 0 up to, but not, 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number from `min` up to and including `max`. */
  between(min: number, max: number): number {
    return min + Math.floor(this.next() * (max - min + 1));
  }

  /** As `between`, small numbers as likely as large ones of ten times their size. */
  spread(min: number, max: number): number {
    return Math.round(min * (max / min) ** this.next());
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(items: readonly T[]): T {
    return this.#at(items, this.next());
  }

  /** The first ones most: a few images are what everybody pulls. */
  pickPopular<T>(items: readonly T[]): T {
    return this.#at(items, this.next() ** 2);
  }

  #at<T>(items: readonly T[], share: number): T {
    const item = items[Math.floor(share * items.length)];
    if (item === undefined) throw new Error('there is nothing to pick from');
    return item;
  }
}
