/**
 * For an LRU cache of `maxEntries` entries that takes memory as it fills. By `max` alone the cache has room for all of
 * them made at once, some 28 bytes each, which all caches together would have an idle server hold for nothing.
 */
export function atMost(maxEntries: number): {
  readonly maxSize: number;
  readonly sizeCalculation: () => number;
} {
  return { maxSize: maxEntries, sizeCalculation: () => 1 };
}

/** For a cache that keeps entries for minutes: one that looks at the clock each millisecond sets a timer for each. */
export function keptFor(ms: number): { readonly ttl: number; readonly ttlResolution: number } {
  return { ttl: ms, ttlResolution: 1000 };
}
