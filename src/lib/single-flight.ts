/**
 * One run at a time per key, shared by all who ask while it runs. The run belongs to nobody: a caller that goes
 * away does not end it. Failures are shared too and not remembered.
 */
export class SingleFlight<T> {
  readonly #running = new Map<string, Promise<T>>();

  /** `joined` tells whether another caller had started the run already. */
  run(key: string, start: () => Promise<T>): { readonly promise: Promise<T>; readonly joined: boolean } {
    const running = this.#running.get(key);
    if (running !== undefined) return { promise: running, joined: true };
    const promise = start().finally(() => this.#running.delete(key));
    this.#running.set(key, promise);
    return { promise, joined: false };
  }
}
