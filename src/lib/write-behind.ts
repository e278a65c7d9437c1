const FLUSH_EVERY_MS = 5000;

/** Has what is noted in memory written every 5 s, one write at a time; `write` never rejects. */
export class WriteBehind {
  readonly #write: () => Promise<void>;
  readonly #timer: NodeJS.Timeout;
  #flushing: Promise<void> | undefined;

  constructor(write: () => Promise<void>) {
    this.#write = write;
    this.#timer = setInterval(() => void this.flush(), FLUSH_EVERY_MS);
    this.#timer.unref();
  }

  /** Resolves when everything noted so far is written, or was refused. */
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
