import type { Digest } from '../../oci/digest.ts';
import { blobsOf, MAX_INDEX_DEPTH } from '../../oci/manifest.ts';
import { subjectsOf } from './manifests.ts';
import type { IndexTables } from './tables.ts';

/** Cached manifests, and all blobs that they list, cached or missing. */
export interface Closure {
  readonly manifests: Set<Digest>;
  /** Sizes by the descriptors, without foreign layers. */
  readonly blobs: Map<Digest, number>;
}

export function emptyClosure(): Closure {
  return { manifests: new Set(), blobs: new Map() };
}

/** Adds a manifest with its config and layers, or an index with its cached entries and their blobs. */
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

/** If more tags name a manifest, all pins are read instead: users make pins by hand, so there are few. */
const MAX_TAGS_SEEN = 100;

/**
 * Whether a pin protects this manifest. The pin can be on its digest, on a tag that names it, or on an index around it
 * at any depth. A pin also protects the attestations of its image.
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

/** A base layer can belong to thousands of images; 20 names are enough for a reader. */
const MAX_NAMES = 20;
const MAX_NAMERS = 100;
/** Blob, manifest, index, and an index around that. */
const MAX_NAME_DEPTH = 4;

/**
 * Names of up to 20 images that have this digest or list it, in ascending order: `image:tag` by their own tags or those
 * of an index around them, or `image@sha256:…` if there is no tag.
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
