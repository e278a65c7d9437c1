import { setImmediate as turn } from 'node:timers/promises';
import type { Digest } from '../../oci/digest.ts';
import type { Platform } from '../../oci/platform.ts';
import type { CacheState, ImageEntry } from '../images.ts';
import { addClosure, emptyClosure, isPinned } from '../index/closure.ts';
import type { IndexTables } from '../index/tables.ts';
import { imageState } from './state.ts';

/** Manifests per turn of the event loop. */
const STEP = 20;

/**
 * All cached manifests and indexes, by digest and then by repository, a few in memory at a time. It only reads, so it
 * works beside a running server on an index that is open `readOnly`.
 */
export async function* listImages(tables: IndexTables): AsyncGenerator<ImageEntry, void> {
  for (
    let page = tables.manifests.page(STEP);
    page.length > 0;
    page = tables.manifests.page(STEP, page.at(-1))
  ) {
    for (const digest of page) yield* entriesOf(tables, digest);
    await turn();
  }
}

function entriesOf(tables: IndexTables, digest: Digest): ImageEntry[] {
  const manifest = tables.manifests.get(digest);
  const content = tables.manifests.content(digest);
  if (manifest === undefined || content === undefined) return [];
  const indexes = tables.references.namersOf(digest);
  const shared = {
    digest,
    mediaType: manifest.descriptor.mediaType,
    kind: content.kind,
    platform: content.kind === 'index' ? undefined : platformOf(tables, digest, indexes),
    indexes,
    ...imageState(tables, content),
    ...sizesOf(tables, digest),
    pulledAt: tables.usage.usedAt('manifest', digest) ?? 0,
    isPinned: isPinned(tables, digest),
  };
  const tags = tables.tags.naming(digest);
  return tables.links.holdersOf(digest).map((repository) => {
    const own = tags.filter(([name]) => name === repository).map(([, tag]) => tag);
    return { repository, tags: own, ...shared, before: beforeOf(tables, repository, own, shared.state) };
  });
}

/** If a tag moved while blobs could not be cached, its new image is partial and the old one may be cached. */
function beforeOf(
  tables: IndexTables,
  repository: string,
  tags: readonly string[],
  state: CacheState,
): ImageEntry['before'] {
  if (state === 'cached') return [];
  return tags.flatMap((tag) => {
    const digest = tables.tags.before([repository, tag]).find((each) => {
      const content = tables.manifests.content(each);
      return content !== undefined && imageState(tables, content).state === 'cached';
    });
    return digest === undefined ? [] : [{ tag, digest }];
  });
}

function sizesOf(tables: IndexTables, digest: Digest) {
  const closure = emptyClosure();
  addClosure(tables, digest, closure);
  const sizes = { bytes: 0, ownBytes: 0 };
  for (const blob of closure.blobs.keys()) {
    const size = tables.blobs.size(blob);
    sizes.bytes += size ?? 0;
    // With one namer more than the closure has manifests, at least one namer is outside of the closure.
    const namers = tables.references.namersOf(blob, closure.manifests.size + 1);
    if (namers.every((namer) => closure.manifests.has(namer))) sizes.ownBytes += size ?? 0;
  }
  return sizes;
}

function platformOf(tables: IndexTables, digest: Digest, indexes: readonly Digest[]): Platform | undefined {
  for (const index of indexes) {
    const content = tables.manifests.content(index);
    if (content?.kind !== 'index') continue;
    const platform = content.entries.find((entry) => entry.digest === digest)?.platform;
    if (platform !== undefined) return platform;
  }
  return undefined;
}
