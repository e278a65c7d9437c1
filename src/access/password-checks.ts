import { createHmac, randomBytes } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { atMost } from '../lib/lru-options.ts';
import { networkPrefix } from '../lib/network-prefix.ts';

/** How long a password that was right is believed without another check, and one that was wrong not tried again. */
const RIGHT_MS = 5 * 60_000;
const WRONG_MS = 10_000;
const MAX_REMEMBERED = 10_000;
/** Waiting checks, ten a second or so: of all clients, and of one, so that it cannot take all places. */
const MAX_WAITING = 64;
const MAX_WAITING_PER_CLIENT = 4;
/** Whoever has one address of IPv6 has the rest of its /64, too. */
const CLIENT_BITS = { v4: 32, v6: 64 };

export interface PasswordCheck {
  readonly name: string;
  readonly password: string;
  /** The first one is the account's; the others are work that every refusal takes. */
  readonly hashes: readonly string[];
  /** The address of who asks. */
  readonly client: string;
}

/** `busy`: too many are being checked, ask again. */
export type Verdict = 'right' | 'wrong' | 'busy';

/**
 * Keeps slow checks rare and bounded. What came of them is remembered under a digest with a key of this process, so
 * that memory holds no passwords, and under the hashes too, so that a changed file counts at once.
 */
export class PasswordChecks {
  readonly #firstMatch: (password: string, hashes: readonly string[]) => Promise<number>;
  readonly #key = randomBytes(32);
  readonly #known = new LRUCache<string, 'right' | 'wrong'>({ ...atMost(MAX_REMEMBERED), ttl: RIGHT_MS });
  readonly #running = new Map<string, Promise<'right' | 'wrong'>>();
  readonly #waiting = new Map<string, number>();

  /** `firstMatch` gives the place of the first hash that is of the password, or -1. */
  constructor(firstMatch: (password: string, hashes: readonly string[]) => Promise<number>) {
    this.#firstMatch = firstMatch;
  }

  async check(check: PasswordCheck): Promise<Verdict> {
    const { name, password, hashes } = check;
    const client = networkPrefix(check.client, CLIENT_BITS);
    const key = createHmac('sha256', this.#key)
      .update(JSON.stringify([name, password, hashes]))
      .digest('base64');
    const known = this.#known.get(key) ?? this.#running.get(key);
    if (known !== undefined) return known;
    const waiting = this.#waiting.get(client) ?? 0;
    if (this.#running.size >= MAX_WAITING || waiting >= MAX_WAITING_PER_CLIENT) return 'busy';
    const run = this.#run(key, check);
    this.#running.set(key, run);
    this.#waiting.set(client, waiting + 1);
    try {
      return await run;
    } finally {
      this.#running.delete(key);
      const left = (this.#waiting.get(client) ?? 1) - 1;
      if (left === 0) this.#waiting.delete(client);
      else this.#waiting.set(client, left);
    }
  }

  async #run(key: string, { password, hashes }: PasswordCheck): Promise<'right' | 'wrong'> {
    const verdict = (await this.#firstMatch(password, hashes)) === 0 ? 'right' : 'wrong';
    this.#known.set(key, verdict, { ttl: verdict === 'right' ? RIGHT_MS : WRONG_MS });
    return verdict;
  }
}
