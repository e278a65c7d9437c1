import { OrderThread } from '../lib/order-thread.ts';

/** What the thread is told; `id` comes back with the answer. */
export interface BcryptOrder {
  readonly id: number;
  readonly password: string;
  readonly hashes: readonly string[];
}

interface BcryptAnswer {
  readonly id: number;
  readonly at: number;
}

/**
 * Compares passwords with bcrypt hashes, one after the other, on a thread of its own: 50 to 100 ms each are meant to
 * hold up whoever guesses, not those who pull. The thread is started when it is first needed and keeps no process alive.
 */
export class BcryptThread {
  readonly #thread = new OrderThread<Omit<BcryptOrder, 'id'>, BcryptAnswer>({
    url: new URL('./bcrypt-worker.js', import.meta.url),
    ended: 'the thread that checks passwords has ended',
  });

  /** The place of the first hash that is of the password; -1: it was compared with all, and none is. Rejects if the thread dies. */
  async firstMatch(password: string, hashes: readonly string[]): Promise<number> {
    return (await this.#thread.order({ password, hashes })).at;
  }

  close(): Promise<void> {
    return this.#thread.close();
  }
}
