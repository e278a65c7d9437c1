const FLUSH_EVERY_MS = 5000;

/** Calls `write` every 5 s, one call at a time, to store what is noted in memory. `write` must not reject. */
export class WriteBehind {
  readonly #write: () => Promise<void>;
  readonly #timer: NodeJS.Timeout;
  #flushing: Promise<void> | undefined;

  constructor(write: () => Promise<void>) {
    this.#write = write;
    this.#timer = setInterval(() => void this.flush(), FLUSH_EVERY_MS);
    this.#timer.unref();
  }

  /** Resolves when a write that began after this call has ended. */
  async flush(): Promise<void> {
    await this.#flushing;
    this.#flushing ??= this.#write().finally(() => {
      this.#flushing = undefined;
    });
    await this.#flushing;
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.flush();
  }
}
