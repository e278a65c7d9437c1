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

/** `compute` for objects that never change: once for each, as long as it lives. */
export function memoOf<K extends object, V>(compute: (key: K) => V): (key: K) => V {
  const known = new WeakMap<K, { readonly value: V }>();
  return (key) => {
    const entry = known.get(key);
    if (entry !== undefined) return entry.value;
    const value = compute(key);
    known.set(key, { value });
    return value;
  };
}
