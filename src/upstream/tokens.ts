import { LRUCache } from 'lru-cache';

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
  readonly #pending = new Map<string, Promise<string>>();

  /** `now`: ms since the epoch. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /**
   * The token for `key`, by `issue` if there is none or if it is the one that the registry has `rejected`. A run of
   * `issue` belongs to nobody: its failures are shared by all who wait, and not remembered.
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
    const pending = this.#pending.get(key) ?? this.#issue(key, issue);
    return { value: await pending, isFresh: true };
  }

  /** Whether there is a token that can be used. */
  holds(key: string): boolean {
    const entry = this.#entries.peek(key);
    return entry !== undefined && this.#now() < entry.usableUntil;
  }

  #issue(key: string, issue: () => Promise<Token>): Promise<string> {
    this.#entries.delete(key);
    const pending = issue()
      .then(({ value, lifetimeMs }) => {
        this.#entries.set(key, { value, usableUntil: this.#now() + lifetimeMs * USABLE_SHARE });
        return value;
      })
      .finally(() => this.#pending.delete(key));
    this.#pending.set(key, pending);
    return pending;
  }
}
