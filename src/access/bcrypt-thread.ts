import { Worker } from 'node:worker_threads';
import { deferred, type Deferred } from '../lib/deferred.ts';

/** What the thread is told; `id` comes back with the answer. */
export interface BcryptOrder {
  readonly id: number;
  readonly password: string;
  readonly hash: string;
}

interface BcryptAnswer {
  readonly id: number;
  readonly matches: boolean;
}

/**
 * Compares passwords with bcrypt hashes, one after the other, on a thread of its own: 50 to 100 ms each are meant to
 * hold up whoever guesses, not those who pull. The thread is started when it is first needed and keeps no process alive.
 */
export class BcryptThread {
  readonly #waiting = new Map<number, Deferred<boolean>>();
  #worker: Worker | undefined;
  #lastId = 0;

  /** Rejects if the thread dies. */
  matches(password: string, hash: string): Promise<boolean> {
    const id = ++this.#lastId;
    const answer = deferred<boolean>();
    this.#waiting.set(id, answer);
    this.#worker ??= this.#start();
    this.#worker.postMessage({ id, password, hash } satisfies BcryptOrder);
    return answer.promise;
  }

  async close(): Promise<void> {
    await this.#worker?.terminate();
  }

  #start(): Worker {
    const worker = new Worker(new URL('./bcrypt-worker.js', import.meta.url));
    worker.unref();
    worker.on('message', ({ id, matches }: BcryptAnswer) => {
      this.#waiting.get(id)?.resolve(matches);
      this.#waiting.delete(id);
    });
    const ended = (error: unknown): void => {
      // An error is followed by the exit, and by then another thread may have begun.
      if (this.#worker !== worker) return;
      this.#worker = undefined;
      for (const answer of this.#waiting.values()) answer.reject(error);
      this.#waiting.clear();
    };
    worker.once('error', ended);
    worker.once('exit', () => ended(new Error('the thread that checks passwords has ended')));
    return worker;
  }
}
