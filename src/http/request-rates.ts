import { LRUCache } from 'lru-cache';
import { atMost } from '../lib/lru-options.ts';
import { networkPrefix, type PrefixBits } from '../lib/network-prefix.ts';

export interface RequestRate {
  /** So many requests in so long a time, all at once if need be. */
  readonly requests: number;
  readonly perMs: number;
  /** Clients whose addresses begin alike share them. */
  readonly prefixBits: PrefixBits;
}

/** Networks that are remembered. Who makes it forget others has used as many addresses, and a firewall's attention. */
const MAX_NETWORKS = 20_000;

interface Bucket {
  tokens: number;
  at: number;
}

/** A bucket of tokens per network, refilled at the rate. */
export class RequestRates {
  readonly #rate: RequestRate;
  readonly #now: () => number;
  readonly #buckets = new LRUCache<string, Bucket>(atMost(MAX_NETWORKS));

  constructor(rate: RequestRate, now: () => number = () => performance.now()) {
    this.#rate = rate;
    this.#now = now;
  }

  /** Takes a request of `address` in: undefined if it may be answered, else after how many seconds one may. */
  take(address: string): number | undefined {
    const { requests, perMs, prefixBits } = this.#rate;
    const now = this.#now();
    const network = networkPrefix(address, prefixBits);
    const bucket = this.#buckets.get(network) ?? { tokens: requests, at: now };
    bucket.tokens = Math.min(requests, bucket.tokens + ((now - bucket.at) * requests) / perMs);
    bucket.at = now;
    this.#buckets.set(network, bucket);
    if (bucket.tokens < 1) return Math.max(1, Math.ceil(((1 - bucket.tokens) * perMs) / requests / 1000));
    bucket.tokens -= 1;
    return undefined;
  }
}
