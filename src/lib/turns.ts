import { setImmediate as turn } from 'node:timers/promises';

/** Lets so many tasks run at a time; further ones wait for their turn, in the order in which they came. */
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
 * Resolves when the next piece of bulk work may be done: one in each turn of the event loop, first come, first served.
 * Whoever moves large blobs from and to memory, which never has to wait for anything, asks for each piece: so small
 * requests have their turns in between.
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

const STEP = 200;

/** The items, with a turn for everybody else now and then: for long loops whose awaits have nothing to wait for. */
export async function* inTurns<T>(items: Iterable<T>): AsyncGenerator<T, void> {
  let count = 0;
  for (const item of items) {
    if (++count % STEP === 0) await turn();
    yield item;
  }
}

/** Runs tasks one after the other, in the order in which they came. */
export class SerialQueue {
  #last: Promise<unknown> = Promise.resolve();

  run<T>(task: () => Promise<T>): Promise<T> {
    const done = this.#last.then(task);
    this.#last = done.catch(() => undefined);
    return done;
  }
}
