import { LRUCache } from 'lru-cache';
import { SingleFlight } from '../lib/single-flight.ts';
import { isTimeout, UpstreamFailure } from './outcome.ts';

/** A bearer token. */
export interface Token {
  readonly value: string;
  /** How long it is good for from now on. */
  readonly lifetimeMs: number;
}

/** A token from the cache, or one that was issued after it had been asked for. */
export interface HeldToken {
  readonly value: string;
  readonly isFresh: boolean;
}

const MAX_TOKENS = 5000;
/** A token must outlive the way of the request that it goes with. */
const USABLE_SHARE = 0.9;

interface Entry {
  readonly value: string;
  readonly usableUntil: number;
}

/** Tokens by key until shortly before they expire. A missing one is fetched once, however many wait for it. */
export class TokenCache {
  readonly #now: () => number;
  readonly #entries = new LRUCache<string, Entry>({ max: MAX_TOKENS });
  readonly #flights = new SingleFlight<string>(isLate);

  /** `now`: ms since the epoch. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /**
   * The token for `key`, by `issue` if there is none or if it is the one that the registry has `rejected`.
   */
  async get(
    key: string,
    options: { readonly issue: () => Promise<Token>; readonly rejected?: string | undefined },
  ): Promise<HeldToken> {
    const { issue, rejected } = options;
    const entry = this.#entries.get(key);
    if (entry !== undefined && entry.value !== rejected && this.#now() < entry.usableUntil) {
      // One that others got since the rejected one is as good as a new one.
      return { value: entry.value, isFresh: rejected !== undefined };
    }
    const { promise } = this.#flights.run(key, () => this.#issue(key, issue));
    return { value: await promise, isFresh: true };
  }

  /** Whether there is a token that can be used. */
  holds(key: string): boolean {
    const entry = this.#entries.peek(key);
    return entry !== undefined && this.#now() < entry.usableUntil;
  }

  async #issue(key: string, issue: () => Promise<Token>): Promise<string> {
    this.#entries.delete(key);
    const { value, lifetimeMs } = await issue();
    this.#entries.set(key, { value, usableUntil: this.#now() + lifetimeMs * USABLE_SHARE });
    return value;
  }
}

function isLate(error: unknown): boolean {
  return error instanceof UpstreamFailure && isTimeout(error.failure);
}
