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
