import { LRUCache } from 'lru-cache';
import { atMost } from '../../lib/caches.ts';
import { repositoryKey, type Repository } from '../../oci/reference.ts';

const MAX_ENTRIES = 10_000;

/** Caches "not found" for a short time. Refusals and failures are not cached. */
export class NegativeCache {
  readonly #absent: LRUCache<string, true>;
  readonly #ttlMs: number;

  /** `ttlMs` 0: off. */
  constructor(ttlMs: number) {
    this.#ttlMs = ttlMs;
    this.#absent = new LRUCache({ ...atMost(MAX_ENTRIES), ttl: ttlMs });
  }

  remember(repository: Repository, reference: string): void {
    if (this.#ttlMs > 0) this.#absent.set(key(repository, reference), true);
  }

  forget(repository: Repository, reference: string): void {
    this.#absent.delete(key(repository, reference));
  }

  has(repository: Repository, reference: string): boolean {
    return this.#absent.has(key(repository, reference));
  }
}

function key(repository: Repository, reference: string): string {
  return `${repositoryKey(repository)}@${reference}`;
}
