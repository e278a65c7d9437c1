import { OrderThread } from '../lib/order-thread.ts';

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
  readonly #thread = new OrderThread<Omit<BcryptOrder, 'id'>, BcryptAnswer>({
    url: new URL('./bcrypt-worker.js', import.meta.url),
    ended: 'the thread that checks passwords has ended',
  });

  /** Rejects if the thread dies. */
  async matches(password: string, hash: string): Promise<boolean> {
    return (await this.#thread.order({ password, hash })).matches;
  }

  close(): Promise<void> {
    return this.#thread.close();
  }
}
