import { Worker } from 'node:worker_threads';
import { deferred, type Deferred } from './promises.ts';

export interface WorkerThreadOptions {
  /** The script. It answers each message `{ id, … }` by one message with the same `id`. */
  readonly url: URL;
  /** The message of the error that callers get when the thread ends by itself. */
  readonly ended: string;
}

/** A worker thread. It starts at the first order, starts again after it died, and does not keep the process alive. */
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

  /** Runs one order after the other. Rejects if the thread cannot start, or dies. */
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
      // `exit` follows `error`, and another thread may run by then.
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
