import { Worker } from 'node:worker_threads';
import { deferred, type Deferred } from './promises.ts';

export interface WorkerThreadOptions {
  /** Of the file that it runs, which answers each message `{ id, … }` by one with the same `id`. */
  readonly url: URL;
  /** What is said to those who wait when it ends of its own accord. */
  readonly ended: string;
}

/** A thread that takes orders. It is started when it is first needed, anew if it has died, and keeps no process alive. */
export class WorkerThread<O extends object, A extends { readonly id: number }> {
  readonly #options: WorkerThreadOptions;
  readonly #waiting = new Map<number, Deferred<A>>();
  #worker: Worker | undefined;
  #lastId = 0;

  constructor(options: WorkerThreadOptions) {
    this.#options = options;
  }

  get isRunning(): boolean {
    return this.#worker !== undefined;
  }

  /** Orders are carried out one after the other. Rejects if the thread cannot be started, or dies. */
  order(order: O): Promise<A> {
    const id = ++this.#lastId;
    const answer = deferred<A>();
    try {
      this.#worker ??= this.#start();
      this.#worker.postMessage({ ...order, id });
      this.#waiting.set(id, answer);
    } catch (error) {
      answer.reject(error);
    }
    return answer.promise;
  }

  async close(): Promise<void> {
    await this.#worker?.terminate();
  }

  #start(): Worker {
    const worker = new Worker(this.#options.url);
    worker.unref();
    worker.on('message', (answer: A) => {
      this.#waiting.get(answer.id)?.resolve(answer);
      this.#waiting.delete(answer.id);
    });
    const ended = (error: unknown): void => {
      // An error is followed by the exit, and by then another thread may have begun.
      if (this.#worker !== worker) return;
      this.#worker = undefined;
      for (const answer of this.#waiting.values()) answer.reject(error);
      this.#waiting.clear();
    };
    worker.on('error', ended);
    worker.once('exit', () => ended(new Error(this.#options.ended)));
    return worker;
  }
}
