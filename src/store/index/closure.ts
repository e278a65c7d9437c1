import type { Digest } from '../../oci/digest.ts';
import { blobsOf, MAX_INDEX_DEPTH } from '../../oci/manifest.ts';
import { subjectsOf } from './manifests.ts';
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
  for (const blob of blobsOf(content)) closure.blobs.set(blob.digest, blob.size);
}

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
  for (let depth = 0; depth <= MAX_INDEX_DEPTH && next.length > 0; depth++) {
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

/** A base layer may belong to thousands; these are enough to know what is concerned. */
const MAX_NAMES = 20;
const MAX_NAMERS = 100;
/** An image, the index that names it, and what may be around that. */
const MAX_NAME_DEPTH = 4;

/**
 * The images that a digest belongs to or is, as people call them, in ascending order and 20 at most: by their tags, or
 * those of an index around them; by digest if there is no tag.
 */
export function imageNames(tables: IndexTables, digest: Digest): string[] {
  const tagged = new Set<string>();
  const untagged = new Set<string>();
  let level: ReadonlySet<Digest> = new Set([digest]);
  for (let depth = 0; depth < MAX_NAME_DEPTH && level.size > 0; depth++) {
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
