import type { Digest } from '../../oci/digest.ts';
import { attestationsOf, subjectsOf } from './attestations.ts';
import { namedBy } from './manifests.ts';
import type { IndexTables } from './tables.ts';
import type { TagKey } from './tags.ts';

/** Other manifests that are looked at before a link to something they share is kept unseen. */
const MAX_NAMERS_SEEN = 64;

/** Names that go in one transaction: some 20 ms. */
const NAMES_AT_ONCE = 1000;

/** What a removal has taken out of the index; the files of the blobs are still there. */
export interface Removed {
  readonly manifests: Set<Digest>;
  readonly blobs: Map<Digest, number>;
  readonly tags: TagKey[];
  /** Repository keys with the digests that they are no longer known to hold. */
  readonly links: [repository: string, digest: Digest][];
}

export function nothingRemoved(): Removed {
  return { manifests: new Set(), blobs: new Map(), tags: [], links: [] };
}

/** Within a transaction: removes a manifest whole, with its tags, its links and every blob that nothing else names. */
export function removeManifest(tables: IndexTables, digest: Digest, removed: Removed): void {
  const { manifests, tags, links, repositories } = tables;
  if (!manifests.has(digest)) return;
  const holders = links.holdersOf(digest);
  for (const key of tags.naming(digest)) {
    tags.remove(key);
    removed.tags.push(key);
  }
  const named = manifests.remove(digest);
  tables.referrers.removeAll(digest);
  removed.manifests.add(digest);
  unlink(tables, holders, digest, removed);
  for (const each of named) removeNamed(tables, each, { holders, removed });
  for (const repository of new Set([...holders, ...removed.tags.map(([name]) => name)])) {
    repositories.unlistIfEmpty(repository);
  }
}

/**
 * Within a transaction: takes off a manifest the first of what it names, if that is too much to go with it at once, as
 * `removeManifest` does. False: it is not. Whoever pulls it meanwhile has what has gone fetched again.
 */
export function removeSomeNames(tables: IndexTables, digest: Digest, removed: Removed): boolean {
  const { manifests, references, links } = tables;
  const content = manifests.content(digest);
  const named = content === undefined ? new Set<Digest>() : namedBy(content);
  if (named.size <= NAMES_AT_ONCE) return false;
  const left = [...named].filter((each) => references.isNamedBy(each, digest));
  if (left.length <= NAMES_AT_ONCE) return false;
  const holders = links.holdersOf(digest);
  for (const each of left.slice(0, NAMES_AT_ONCE)) {
    references.remove(digest, [each]);
    removeNamed(tables, each, { holders, removed });
  }
  return true;
}

/** Within a transaction: a manifest that these repositories hold names it no longer. */
function removeNamed(
  tables: IndexTables,
  digest: Digest,
  { holders, removed }: { readonly holders: readonly string[]; readonly removed: Removed },
): void {
  const { manifests, references, links, blobs } = tables;
  // An entry that is still stored keeps its own links, until it goes.
  if (manifests.has(digest)) return;
  if (references.isNamed(digest)) unlink(tables, holders, digest, removed);
  else if (blobs.size(digest) !== undefined) removeBlob(tables, digest, removed);
  else unlink(tables, links.holdersOf(digest), digest, removed);
}

/** Within a transaction: removes a manifest and, with it, the attestations of it that may go. */
export function removeWithAttestations(
  tables: IndexTables,
  digest: Digest,
  options: { readonly removed: Removed; readonly mayGo: (attestation: Digest) => boolean },
): void {
  const { removed, mayGo } = options;
  const attestations = attestationsOf(tables, digest);
  removeManifest(tables, digest, removed);
  for (const each of attestations) {
    const isNeeded = subjectsOf(tables, each).length > 0 || tables.tags.naming(each).length > 0;
    if (!isNeeded && mayGo(each)) removeManifest(tables, each, removed);
  }
}

/** Within a transaction: a repository is no longer known to hold a manifest, nor what only that showed it to hold. */
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
  const holders = tables.links.holdersOf(digest);
  for (const repository of holders) {
    tables.links.remove(repository, digest);
    removed.links.push([repository, digest]);
  }
  for (const repository of holders) tables.repositories.unlistIfEmpty(repository);
}

/**
 * Takes away the repositories' links to a digest, except where another manifest that the repository holds names it.
 * A link that is lost costs a HEAD upstream; one too many goes when the last manifest that names it does.
 */
function unlink(
  tables: IndexTables,
  repositories: readonly string[],
  digest: Digest,
  removed: Removed,
): void {
  const namers = tables.references.namersOf(digest, MAX_NAMERS_SEEN);
  for (const repository of repositories) {
    const isNamedHere =
      namers.length === MAX_NAMERS_SEEN ||
      namers.some((namer) => tables.links.get(repository, namer) !== undefined);
    if (isNamedHere || tables.links.get(repository, digest) === undefined) continue;
    tables.links.remove(repository, digest);
    removed.links.push([repository, digest]);
  }
}
