import type { Digest } from '../oci/digest.ts';
import type { ListedImage } from '../oci/listed-image.ts';
import { isRunnableImage } from '../oci/manifest.ts';
import { parseRepositoryKey } from '../oci/reference.ts';
import type { BlobFiles } from '../store/blob-files.ts';
import { createBlobFiles } from '../store/blob/disk-files.ts';
import { listImages } from '../store/image-list.ts';
import type { IndexTables } from '../store/index/tables.ts';
import type { ManifestStore } from '../store/manifest-store.ts';
import { readIndex } from '../store/manifest/lmdb.ts';
import { createReferrersStore } from '../store/manifest/lmdb-referrers.ts';
import type { ReferrersStore } from '../store/referrers-store.ts';

/** Digests that are listed at a time. */
const PAGE = 1000;

/** What is stored in a data directory, read beside whoever owns it. */
export interface StoredContent {
  readonly manifests: Pick<ManifestStore, 'getTag' | 'getManifest' | 'getLink'>;
  readonly referrers: Pick<ReferrersStore, 'getReferrers'>;
  readonly files: BlobFiles;
  /** Every tag, and by digest what has none and is not part of an index. */
  images(): AsyncGenerator<ListedImage, void>;
  /** All blobs, in ascending order. */
  blobs(): Generator<Digest, void>;
  close(): Promise<void>;
}

/** Throws IndexError. */
export async function openContent(dataDir: string): Promise<StoredContent> {
  const index = await readIndex(dataDir);
  return {
    manifests: index,
    // Nothing is written, so nothing can fail to be.
    referrers: createReferrersStore({ tables: index.tables, onError: () => undefined, hasRoom: () => false }),
    files: createBlobFiles(dataDir, index),
    images: () => listedImages(index.tables),
    blobs: () => blobDigests(index.tables),
    close: () => index.close(),
  };
}

async function* listedImages(tables: IndexTables): AsyncGenerator<ListedImage, void> {
  for await (const { repository: key, tags, digest, indexes } of listImages(tables)) {
    const repository = parseRepositoryKey(key);
    for (const tag of tags) yield { repository, tag, platforms: [] };
    const content = tables.manifests.content(digest);
    // Statements on images come with the images that they are on.
    const isImage = content !== undefined && (content.kind === 'index' || isRunnableImage(content));
    if (tags.length === 0 && indexes.length === 0 && isImage) yield { repository, digest, platforms: [] };
  }
}

function* blobDigests({ blobs }: IndexTables): Generator<Digest, void> {
  for (let page = blobs.page(PAGE); page.length > 0; page = blobs.page(PAGE, page.at(-1))) yield* page;
}
