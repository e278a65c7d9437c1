/** A run, as one caller sees it. */
export interface Flight<T> {
  readonly promise: Promise<T>;
  /** True if another caller started the run. */
  readonly joined: boolean;
}

/**
 * One run at a time per key, shared by all callers. A caller that leaves does not end the run. Failures are shared
 * and not remembered. Timeouts are the exception: a caller that joined late has hardly waited. So all callers that
 * joined a run that timed out share one new run.
 */
export class SingleFlight<T> {
  readonly #isLate: (error: unknown) => boolean;
  readonly #running = new Map<string, Promise<T>>();

  /** `isLate`: whether an error means that a run timed out. */
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
