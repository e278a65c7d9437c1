import type { Digest } from '../../oci/digest.ts';
import type { IndexTables } from './tables.ts';

/** Whether a pin keeps this manifest: of its digest, of a tag that names it, or either of an index that names it. */
export function isPinned(tables: IndexTables, digest: Digest): boolean {
  if (tables.pins.count === 0) return false;
  return [digest, ...tables.references.namersOf(digest)].some((each) => hasPin(tables, each));
}

function hasPin({ pins, tags }: IndexTables, digest: Digest): boolean {
  if (pins.hasDigest(digest)) return true;
  return tags.naming(digest).some(([repository, tag]) => pins.has({ kind: 'tag', repository, tag }));
}
