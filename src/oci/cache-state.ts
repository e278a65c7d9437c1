/** Whether all of an image is on disk, some of it, or nothing. */
export type CacheState = 'cached' | 'partial' | 'missing';

/** Of what has `parts`, of which so many are cached. */
export function stateOf({ parts, cached }: { readonly parts: number; readonly cached: number }): CacheState {
  if (cached === 0) return 'missing';
  return cached === parts ? 'cached' : 'partial';
}
