import { LRUCache } from 'lru-cache';

/**
 * Options of an LRU cache of `maxEntries` entries that takes memory only as it fills. `max` alone reserves 28 bytes for
 * each entry at once, which an idle server would hold for all its caches.
 */
export function atMost(maxEntries: number): {
  readonly maxSize: number;
  readonly sizeCalculation: () => number;
} {
  return { maxSize: maxEntries, sizeCalculation: () => 1 };
}

/** Options of a cache that keeps entries for minutes. One timer a second, where lru-cache sets one for each ms. */
export function keptFor(ms: number): { readonly ttl: number; readonly ttlResolution: number } {
  return { ttl: ms, ttlResolution: 1000 };
}

/**
 * `compute`, whose results for the last `maxEntries` texts are remembered. As `memo` of lru-cache, which copies its
 * options with each call.
 */
export function recentOf<V extends object | string | boolean>(
  maxEntries: number,
  compute: (text: string) => V,
): (text: string) => V {
  const known = new LRUCache<string, V>(atMost(maxEntries));
  return (text) => {
    const before = known.get(text);
    if (before !== undefined) return before;
    const value = compute(text);
    known.set(text, value);
    return value;
  };
}

/** `compute`, called once for each object. The objects must not change. */
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
