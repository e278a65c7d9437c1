import { LRUCache } from 'lru-cache';
import { atMost } from '../../lib/caches.ts';

/** Registries and the proxies before them that know no HEAD of manifests say one of these. */
const METHOD_REFUSALS: readonly number[] = [400, 405, 501];
const MAX_REPOSITORIES = 5000;
const MAX_DOUBTED = 1000;
/** Of what a GET finds later than this, HEAD may have been right: it can have been pushed meanwhile. */
const DOUBTED_FOR_MS = 10_000;
/** After so long HEAD is tried again: who it was that refused it may have been replaced. */
const REFUSED_FOR_MS = 60 * 60 * 1000;

type Trust =
  /** HEAD finds what is there, so what it does not find is not. */
  | { readonly kind: 'sound' }
  /** HEAD said no where GET said yes. */
  | { readonly kind: 'refused'; readonly until: number };

/** The answer to a HEAD. */
interface Doubt {
  readonly status: number;
  /** Ms since the epoch. */
  readonly at: number;
}

/**
 * What HEAD of a manifest is good for at one registry. Some refuse it where GET works, and some say 404 then (Nexus:
 * crazymax/diun#1614, containrrr/watchtower#669). So a 404 counts once the repository has shown that it means it: by a
 * manifest that it did find by HEAD, or by a GET that it answered likewise. A registry can be several behind one name.
 */
export class ManifestHeadTrust {
  readonly #now: () => number;
  /** By repository. */
  readonly #trust = new LRUCache<string, Trust>(atMost(MAX_REPOSITORIES));
  /** What HEAD did not find, until a GET tells: by repository and reference. */
  readonly #doubted = new LRUCache<string, Doubt>(atMost(MAX_DOUBTED));

  constructor(now: () => number) {
    this.#now = now;
  }

  /** It is known that HEAD tells nothing. */
  isRefused(repository: string): boolean {
    const trust = this.#trust.get(repository);
    return trust?.kind === 'refused' && this.#now() < trust.until;
  }

  /** Whether `status`, the answer to a HEAD, says nothing about the manifest. */
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

  /** What a GET of the manifest was answered. */
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
