import type { Digest } from '../../oci/digest.ts';
import { subjectsOf } from './attestations.ts';
import type { IndexTables } from './tables.ts';

/** Indexes inside indexes: what lies deeper, no client is given. */
const MAX_DEPTH = 4;
/** Of a manifest. Where it has more, pins are looked through instead: people make those, and nobody makes thousands. */
const MAX_TAGS_SEEN = 100;

/**
 * Whether a pin keeps this manifest: of its digest, of a tag that names it, either of an index that names it, at
 * whatever remove, or one that keeps the manifest of which this is an attestation.
 */
export function isPinned(tables: IndexTables, digest: Digest): boolean {
  if (tables.pins.count === 0) return false;
  const seen = new Set<Digest>();
  let next = [digest, ...subjectsOf(tables, digest)];
  for (let depth = 0; depth <= MAX_DEPTH && next.length > 0; depth++) {
    if (next.some((each) => hasPin(tables, each))) return true;
    for (const each of next) seen.add(each);
    next = next.flatMap((each) => tables.references.namersOf(each)).filter((each) => !seen.has(each));
  }
  return false;
}

function hasPin({ pins, tags }: IndexTables, digest: Digest): boolean {
  if (pins.hasDigest(digest)) return true;
  const some = tags.naming(digest, MAX_TAGS_SEEN + 1);
  return some.length > MAX_TAGS_SEEN
    ? pins.all().some((pin) => pin.kind === 'tag' && tags.names([pin.repository, pin.tag], digest))
    : some.some(([repository, tag]) => pins.has({ kind: 'tag', repository, tag }));
}
