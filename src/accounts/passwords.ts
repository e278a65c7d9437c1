import { createHmac, randomBytes } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { atMost } from '../lib/caches.ts';
import { networkPrefix } from '../lib/networks.ts';
import { WorkerThread } from '../lib/worker.ts';

/** Time that the result of a check is remembered. */
const RIGHT_MS = 5 * 60_000;
const WRONG_MS = 10_000;
const MAX_REMEMBERED = 10_000;
/** Most waiting checks, at about ten a second. The limit for one client keeps places free for others. */
const MAX_WAITING = 64;
const MAX_WAITING_PER_CLIENT = 4;
/** A client with one address of IPv6 usually has all of its /64. */
const CLIENT_BITS = { v4: 32, v6: 64 };

interface PasswordCheck {
  readonly name: string;
  readonly password: string;
  /** The first hash belongs to the account. The others make all refusals equally slow (`refusalWork`). */
  readonly hashes: readonly string[];
  /** The address of the client. */
  readonly client: string;
}

/** `busy`: too many checks wait. */
type Verdict = 'right' | 'wrong' | 'busy';

/**
 * Keeps slow checks rare and bounded. It remembers results under a digest with a key of this process, so that memory
 * holds no passwords. The digest includes the hashes, so that a changed file counts at once.
 */
export class PasswordChecks {
  readonly #firstMatch: (password: string, hashes: readonly string[]) => Promise<number>;
  readonly #key = randomBytes(32);
  readonly #known = new LRUCache<string, 'right' | 'wrong'>({ ...atMost(MAX_REMEMBERED), ttl: RIGHT_MS });
  readonly #running = new Map<string, Promise<'right' | 'wrong'>>();
  readonly #waiting = new Map<string, number>();

  /** `firstMatch` returns the index of the first hash that fits the password, or -1. */
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

/** A message to the thread. The answer repeats `id`. */
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
 * Compares passwords with bcrypt hashes, one after the other, on a thread of its own. A check takes 50 to 100 ms, which
 * would delay clients that pull. The thread starts with the first check and does not keep the process alive.
 */
export class BcryptThread {
  readonly #thread = new WorkerThread<Omit<BcryptOrder, 'id'>, BcryptAnswer>({
    url: new URL('./bcrypt-worker.js', import.meta.url),
    ended: 'the thread that checks passwords has ended',
  });

  /** The index of the first hash that fits the password. -1: none of them fits. Rejects if the thread dies. */
  async firstMatch(password: string, hashes: readonly string[]): Promise<number> {
    return (await this.#thread.order({ password, hashes })).at;
  }

  close(): Promise<void> {
    return this.#thread.close();
  }
}

/** Salt and hash that fit no password. */
const NO_PASSWORD = 'abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234';

/**
 * The hashes for a check. Every refusal takes as long as the dearest hash of the file, so that its time does not reveal
 * whether the account exists. `hash` is undefined if the file does not name the account.
 *
 * One comparison of cost c takes 2^c rounds. After it come comparisons of the costs c, c+1 … d-1:
 * 2^c + 2^c + 2^(c+1) + … + 2^(d-1) = 2^d.
 */
export function refusalWork(hash: string | undefined, dearest: number): readonly string[] {
  if (hash === undefined) return [decoy(dearest)];
  const hashes = [hash];
  for (let cost = costOf(hash); cost < dearest; cost++) hashes.push(decoy(cost));
  return hashes;
}

/** The highest cost of the hashes. 0 without hashes. */
export function dearestCost(hashes: Iterable<string>): number {
  let dearest = 0;
  for (const hash of hashes) dearest = Math.max(dearest, costOf(hash));
  return dearest;
}

/** The base-2 logarithm of bcrypt's rounds: `$2y$11$…` has 11. */
function costOf(hash: string): number {
  return Number(hash.slice(4, 6));
}

function decoy(cost: number): string {
  return `$2b$${String(cost).padStart(2, '0')}$${NO_PASSWORD}`;
}
