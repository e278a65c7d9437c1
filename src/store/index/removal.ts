import type { Digest } from '../../oci/digest.ts';
import { attestationsOf, subjectsOf, namedBy } from './manifests.ts';
import type { TagKey } from './repositories.ts';
import type { IndexTables } from './tables.ts';

/** Other manifests that are read to decide on a link. If more name the digest, the link stays. */
const MAX_NAMERS_SEEN = 64;

/** Tags, links or names that one transaction removes: it takes about 20 ms. */
const AT_ONCE = 1000;

/** Entries that were removed from the index. The files of the blobs still exist. */
export interface Removed {
  readonly manifests: Set<Digest>;
  readonly blobs: Map<Digest, number>;
  readonly tags: TagKey[];
  /** Links that were removed or changed: repository key and digest. */
  readonly links: [repository: string, digest: Digest][];
}

export function nothingRemoved(): Removed {
  return { manifests: new Set(), blobs: new Map(), tags: [], links: [] };
}

/** Within a transaction: removes a manifest with its tags, its links and the blobs that no other manifest names. */
export function removeManifest(tables: IndexTables, digest: Digest, removed: Removed): void {
  const { manifests, tags, links, repositories } = tables;
  if (!manifests.has(digest)) return;
  const holders = links.holdersOf(digest);
  const keys = tags.naming(digest);
  removeTags(tables, keys, removed);
  const named = manifests.remove(digest);
  tables.referrers.removeAll(digest);
  removed.manifests.add(digest);
  unlink(tables, holders, digest, removed);
  disclaimBlobs(tables, digest, removed);
  removeOffers(tables, digest);
  for (const each of named) removeNamed(tables, each, { holders, removed });
  for (const repository of new Set([...holders, ...keys.map(([name]) => name)])) {
    repositories.unlistIfEmpty(repository);
  }
}

/**
 * Within a transaction: removes some tags, links or names of a manifest, if it has too many for one `removeManifest`.
 * False: nothing was removed, since it has few. A pull in between downloads the missing parts again.
 */
export function removeSome(tables: IndexTables, digest: Digest, removed: Removed): boolean {
  return (
    removeSomeTags(tables, digest, removed) ||
    removeSomeLinks(tables, digest, removed) ||
    removeSomeNames(tables, digest, removed)
  );
}

function removeSomeTags(tables: IndexTables, digest: Digest, removed: Removed): boolean {
  const some = tables.tags.naming(digest, AT_ONCE + 1);
  if (some.length <= AT_ONCE) return false;
  removeTags(tables, some, removed);
  return true;
}

/** Within a transaction: the same for the links to a manifest or blob. */
export function removeSomeLinks(tables: IndexTables, digest: Digest, removed: Removed): boolean {
  const some = tables.links.holdersOf(digest, AT_ONCE + 1);
  if (some.length <= AT_ONCE) return false;
  removeLinks(tables, some, digest, removed);
  return true;
}

/** The work for one name grows with the number of repositories that hold the manifest. */
function removeSomeNames(tables: IndexTables, digest: Digest, removed: Removed): boolean {
  const { manifests, references, links } = tables;
  const content = manifests.content(digest);
  const named = content === undefined ? [] : [...namedBy(content)];
  const holders = links.holdersOf(digest);
  const atOnce = Math.ceil(AT_ONCE / Math.max(1, holders.length));
  const left = named.filter((each) => references.isNamedBy(each, digest));
  const some = left.slice(0, atOnce);
  const isOwn = (each: Digest): boolean => !manifests.has(each) && references.isOwn(each, digest);
  if (some.some((each) => isOwn(each) && removeSomeLinks(tables, each, removed))) return true;
  if (left.length <= atOnce) return false;
  disclaimBlobs(tables, digest, removed);
  for (const each of some) {
    references.remove(digest, [each]);
    removeNamed(tables, each, { holders, removed });
  }
  return true;
}

/** Within a transaction: repositories that keep their link to a manifest may lose the links to its blobs. */
export function disclaimBlobs({ links }: IndexTables, digest: Digest, removed: Removed): void {
  for (const repository of links.holdersOf(digest)) {
    if (links.disclaimBlobs(repository, digest)) removed.links.push([repository, digest]);
  }
}

/** Within a transaction: a manifest in the repositories `holders` does not name `digest` any more. */
function removeNamed(
  tables: IndexTables,
  digest: Digest,
  { holders, removed }: { readonly holders: readonly string[]; readonly removed: Removed },
): void {
  const { manifests, references, links, blobs } = tables;
  // A cached entry of an index keeps its own links until it is removed.
  if (manifests.has(digest)) return;
  removeOffers(tables, digest);
  if (references.isNamed(digest)) unlink(tables, holders, digest, removed);
  else if (blobs.size(digest) !== undefined) removeBlob(tables, digest, removed);
  else unlink(tables, links.holdersOf(digest), digest, removed);
}

/** Within a transaction: removes the offers of a digest that no manifest names. The sweep removes those beyond 1000. */
function removeOffers({ references, offers }: IndexTables, digest: Digest): void {
  if (!references.isNamed(digest)) offers.removeSome(digest, AT_ONCE);
}

/** Within a transaction: removes a manifest and those of its attestations that `mayGo`. */
export function removeWithAttestations(
  tables: IndexTables,
  digest: Digest,
  options: { readonly removed: Removed; readonly mayGo: (attestation: Digest) => boolean },
): void {
  const { removed, mayGo } = options;
  const attestations = attestationsOf(tables, digest);
  removeManifest(tables, digest, removed);
  for (const each of attestations) {
    const isNeeded = subjectsOf(tables, each).length > 0 || tables.tags.naming(each, 1).length > 0;
    if (!isNeeded && mayGo(each)) removeManifest(tables, each, removed);
  }
}

/**
 * Within a transaction: removes a repository's links to a manifest and to the digests that only this manifest names.
 */
export function unlinkManifest(
  tables: IndexTables,
  repository: string,
  digest: Digest,
  removed: Removed,
): void {
  const content = tables.manifests.content(digest);
  tables.links.remove(repository, digest);
  removed.links.push([repository, digest]);
  for (const each of content === undefined ? [] : namedBy(content)) {
    const isTagged = tables.tags.naming(each).some(([name]) => name === repository);
    if (!isTagged) unlink(tables, [repository], each, removed);
  }
}

/** Within a transaction: removes a blob and every link to it. */
export function removeBlob(tables: IndexTables, digest: Digest, removed: Removed): void {
  const size = tables.blobs.size(digest);
  if (size !== undefined) removed.blobs.set(digest, size);
  tables.blobs.remove(digest);
  removeLinks(tables, tables.links.holdersOf(digest), digest, removed);
}

function removeTags({ tags, repositories }: IndexTables, keys: readonly TagKey[], removed: Removed): void {
  for (const key of keys) {
    tags.remove(key);
    removed.tags.push(key);
  }
  for (const repository of new Set(keys.map(([name]) => name))) repositories.unlistIfEmpty(repository);
}

function removeLinks(
  { links, repositories }: IndexTables,
  holders: readonly string[],
  digest: Digest,
  removed: Removed,
): void {
  for (const repository of holders) {
    links.remove(repository, digest);
    removed.links.push([repository, digest]);
    repositories.unlistIfEmpty(repository);
  }
}

/**
 * Removes the repositories' links to a digest, unless another manifest of the repository names it. A link that is
 * missing costs a HEAD upstream; a link too many is removed with the last manifest that names the digest.
 */
function unlink(
  tables: IndexTables,
  repositories: readonly string[],
  digest: Digest,
  removed: Removed,
): void {
  const namers = tables.references.namersOf(digest, MAX_NAMERS_SEEN);
  for (const repository of repositories) {
    const isNamed =
      namers.length === MAX_NAMERS_SEEN ||
      namers.some((namer) => tables.links.get(repository, namer) !== undefined);
    if (isNamed || tables.links.get(repository, digest) === undefined) continue;
    tables.links.remove(repository, digest);
    removed.links.push([repository, digest]);
  }
}
