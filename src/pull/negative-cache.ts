import { LRUCache } from 'lru-cache';
import { repositoryKey, type Repository } from '../oci/reference.ts';

const MAX_ENTRIES = 10_000;

/** Manifests that upstream said do not exist, remembered for a short time. Refusals and failures never are. */
export class NegativeCache {
  readonly #absent: LRUCache<string, true>;

  constructor(ttlMs: number) {
    this.#absent = new LRUCache({ max: MAX_ENTRIES, ttl: ttlMs });
  }

  remember(repository: Repository, reference: string): void {
    this.#absent.set(key(repository, reference), true);
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
