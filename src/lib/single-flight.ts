/** A run, as one who asked for it sees it. */
export interface Flight<T> {
  readonly promise: Promise<T>;
  /** Another caller had started it already. */
  readonly joined: boolean;
}

/**
 * One run at a time per key, shared by all who ask while it runs. The run belongs to nobody: a caller that goes
 * away does not end it. Failures are shared too and not remembered. Only that a run took too long is no failure of those
 * who joined it: who came late has waited for a moment. So each of them asks once more, all of them by one new run.
 */
export class SingleFlight<T> {
  readonly #isLate: (error: unknown) => boolean;
  readonly #running = new Map<string, Promise<T>>();

  /** `isLate`: whether a run has failed because its time was over. */
  constructor(isLate: (error: unknown) => boolean) {
    this.#isLate = isLate;
  }

  run(key: string, start: () => Promise<T>): Flight<T> {
    const running = this.#running.get(key);
    if (running === undefined) return { promise: this.#start(key, start), joined: false };
    const promise = running.catch((error: unknown) => {
      if (!this.#isLate(error)) throw error;
      return this.#running.get(key) ?? this.#start(key, start);
    });
    return { promise, joined: true };
  }

  #start(key: string, start: () => Promise<T>): Promise<T> {
    const promise = start().finally(() => this.#running.delete(key));
    this.#running.set(key, promise);
    return promise;
  }
}
