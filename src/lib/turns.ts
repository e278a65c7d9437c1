import { setImmediate as turn } from 'node:timers/promises';

/** Runs at most `max` tasks at a time; further tasks wait in order. */
export class Limiter {
  readonly #waiting: (() => void)[] = [];
  #free: number;

  constructor(max: number) {
    this.#free = max;
  }

  async run<T>(task: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await task();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free++;
      else next();
    }
  }
}

const waiting: (() => void)[] = [];
let isScheduled = false;

/**
 * Resolves when the next piece of bulk work may run: one in each turn of the event loop, first come, first served.
 * Code that moves large blobs from and to memory never waits for I/O. It awaits this for each piece, so that small
 * requests run in between.
 */
export function fairTurn(): Promise<void> {
  return new Promise((resolve) => {
    waiting.push(resolve);
    schedule();
  });
}

function schedule(): void {
  if (isScheduled) return;
  isScheduled = true;
  setImmediate(() => {
    isScheduled = false;
    waiting.shift()?.();
    if (waiting.length > 0) schedule();
  });
}

/**
 * Gathers the items of one turn of the event loop, and handles them together at its end. Runs in a row find their code
 * and data in the processor's caches; between other work they do not, and take longer.
 */
export class TurnEnd<T> {
  readonly #handle: (item: T) => void;
  #items: T[] = [];

  /** `handle` must not throw. */
  constructor(handle: (item: T) => void) {
    this.#handle = handle;
  }

  add(item: T): void {
    if (this.#items.push(item) === 1) setImmediate(() => this.#end());
  }

  #end(): void {
    const items = this.#items;
    this.#items = [];
    for (const item of items) this.#handle(item);
  }
}

const STEP = 200;

/**
 * The items, with a turn of the event loop after every 200 of them. For long loops whose awaits never wait for I/O.
 */
export async function* inTurns<T>(items: Iterable<T>): AsyncGenerator<T, void> {
  let count = 0;
  for (const item of items) {
    if (++count % STEP === 0) await turn();
    yield item;
  }
}

/** Runs tasks one after the other, in order. */
export class SerialQueue {
  #last: Promise<unknown> = Promise.resolve();

  run<T>(task: () => Promise<T>): Promise<T> {
    const done = this.#last.then(task);
    this.#last = done.catch(() => undefined);
    return done;
  }
}
