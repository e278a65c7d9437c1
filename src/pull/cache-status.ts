/**
 * How an answer came about; becomes `Cache-Status` (RFC 9211) and a metric label.
 * - `hit`: from the cache, fresh.
 * - `negative`: a remembered absence.
 * - `stored`: fetched, and kept.
 * - `collapsed`: joined a fetch that another request had started.
 * - `revalidated`: from the cache, after upstream confirmed it just now (or moved the tag).
 * - `stale`: from the cache, though it could not be checked.
 * - `miss`: upstream was asked, nothing to keep (a HEAD, an absence).
 * - `bypass`: passed through, not kept.
 * - `local`: answered without cache or upstream (ping, errors of the request).
 */
export type CacheStatus =
  'hit' | 'negative' | 'stored' | 'collapsed' | 'revalidated' | 'stale' | 'miss' | 'bypass' | 'local';

/** Why an answer may be out of date. */
export interface Staleness {
  /** For people. */
  readonly reason: string;
  /** When upstream last confirmed it; ms since the epoch. */
  readonly confirmedAt: number;
}
