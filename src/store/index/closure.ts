import type { Digest } from '../../oci/digest.ts';
import type { IndexTables } from './tables.ts';

/** Stored manifests and all the blobs that they say they have, whether those are stored or not. */
export interface Closure {
  readonly manifests: Set<Digest>;
  /** Sizes as the descriptors tell them. Foreign layers are not among them. */
  readonly blobs: Map<Digest, number>;
}

export function emptyClosure(): Closure {
  return { manifests: new Set(), blobs: new Map() };
}

/** Adds what belongs to a manifest: an image's config and layers, an index's stored entries with theirs. */
export function addClosure(tables: IndexTables, digest: Digest, closure: Closure): void {
  if (closure.manifests.has(digest)) return;
  const content = tables.manifests.content(digest);
  if (content === undefined) return;
  closure.manifests.add(digest);
  if (content.kind === 'index') {
    for (const entry of content.entries) addClosure(tables, entry.digest, closure);
    return;
  }
  for (const blob of [content.config, ...content.layers]) closure.blobs.set(blob.digest, blob.size);
}
