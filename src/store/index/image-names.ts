import type { Digest } from '../../oci/digest.ts';
import type { IndexTables } from './tables.ts';

/** A base layer may belong to thousands; these are enough to know what is concerned. */
const MAX_NAMES = 20;
const MAX_NAMERS = 100;
/** An image, the index that names it, and what may be around that. */
const MAX_DEPTH = 4;

/**
 * The images that a digest belongs to or is, as people call them, in ascending order and 20 at most: by their tags, or
 * those of an index around them; by digest if there is no tag.
 */
export function imageNames(tables: IndexTables, digest: Digest): string[] {
  const tagged = new Set<string>();
  const untagged = new Set<string>();
  let level: ReadonlySet<Digest> = new Set([digest]);
  for (let depth = 0; depth < MAX_DEPTH && level.size > 0; depth++) {
    const above = new Set<Digest>();
    for (const each of level) {
      for (const [repository, tag] of tables.tags.naming(each)) tagged.add(`${repository}:${tag}`);
      const namers = tables.references.namersOf(each, MAX_NAMERS);
      for (const namer of namers) above.add(namer);
      if (namers.length > 0 || !tables.manifests.has(each)) continue;
      for (const repository of tables.links.holdersOf(each)) untagged.add(`${repository}@${each}`);
    }
    level = above;
  }
  return [...(tagged.size > 0 ? tagged : untagged)].sort().slice(0, MAX_NAMES);
}
