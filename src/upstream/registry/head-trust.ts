import { LRUCache } from 'lru-cache';
import { atMost } from '../../lib/caches.ts';

/** Statuses of registries, and proxies before them, that do not support HEAD of manifests. */
const METHOD_REFUSALS: readonly number[] = [400, 405, 501];
const MAX_REPOSITORIES = 5000;
const MAX_DOUBTED = 1000;
/** A manifest that a GET finds later than this may have been pushed after the HEAD. */
const DOUBTED_FOR_MS = 10_000;
/** After 1 h HEAD is tried again: the server may have been replaced. */
const REFUSED_FOR_MS = 60 * 60 * 1000;

type Trust =
  /** A 404 to HEAD is reliable. */
  | { readonly kind: 'sound' }
  /** HEAD failed where GET succeeded. */
  | { readonly kind: 'refused'; readonly until: number };

/** A failed HEAD. */
interface Doubt {
  readonly status: number;
  /** Ms since the epoch. */
  readonly at: number;
}

/**
 * Whether HEAD of a manifest is reliable at one registry. Some refuse it where GET works, and some answer 404 then
 * (Nexus: crazymax/diun#1614, containrrr/watchtower#669). So a 404 counts only after the repository proved it: by a
 * manifest that HEAD found, or by a GET with the same result. Tracked by repository, since one host may have several
 * registries behind it.
 */
export class ManifestHeadTrust {
  readonly #now: () => number;
  /** By repository. */
  readonly #trust = new LRUCache<string, Trust>(atMost(MAX_REPOSITORIES));
  /** Failed HEADs until a GET shows the truth: by repository and reference. */
  readonly #doubted = new LRUCache<string, Doubt>(atMost(MAX_DOUBTED));

  constructor(now: () => number) {
    this.#now = now;
  }

  /** True if HEAD is known to say nothing. */
  isRefused(repository: string): boolean {
    const trust = this.#trust.get(repository);
    return trust?.kind === 'refused' && this.#now() < trust.until;
  }

  /** True if `status`, the response to a HEAD, says nothing about the manifest. */
  saysNothing(repository: string, reference: string, status: number): boolean {
    const key = `${repository}@${reference}`;
    if (status === 200) {
      this.#trust.set(repository, { kind: 'sound' });
      this.#doubted.delete(key);
    }
    if (status !== 404 && !METHOD_REFUSALS.includes(status)) return false;
    this.#doubted.set(key, { status, at: this.#now() });
    return status !== 404 || this.#trust.get(repository)?.kind !== 'sound';
  }

  /** Reports the status of a GET of the manifest. */
  got(repository: string, reference: string, status: number): void {
    const key = `${repository}@${reference}`;
    const doubt = this.#doubted.get(key);
    if (doubt === undefined) return;
    this.#doubted.delete(key);
    const is404 = doubt.status === 404;
    if (is404 && this.#now() - doubt.at > DOUBTED_FOR_MS) return;
    if (status === 404 && is404) this.#trust.set(repository, { kind: 'sound' });
    if (status === 200) this.#trust.set(repository, { kind: 'refused', until: this.#now() + REFUSED_FOR_MS });
  }
}
