import { stat } from 'node:fs/promises';
import { privatePatterns, usesCredentials } from '../config/credentials.ts';
import type { Settings } from '../config/settings.ts';
import { RepositoryAccess } from '../mirror/access/access.ts';
import { PullRules, TagScope } from '../mirror/access/rules.ts';
import { PullError } from '../mirror/answer/errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { ListedImage } from '../oci/image-name.ts';
import { isRunnableImage, type Descriptor } from '../oci/manifest.ts';
import { parseRepositoryKey } from '../oci/reference.ts';
import { ImageReadiness, type Readiness } from '../operations/images/readiness.ts';
import { wantedImages } from '../operations/images/wanted.ts';
import type { ImagesRequest } from '../operations/protocol.ts';
import { createBlobFiles } from '../store/blob/disk.ts';
import type { BlobFiles } from '../store/blobs.ts';
import { listImages } from '../store/catalog/list.ts';
import { dataDirState } from '../store/data-dir.ts';
import type { IndexTables } from '../store/index/tables.ts';
import { readIndex, createReferrersStore } from '../store/manifest/lmdb.ts';
import { createMemoryStore } from '../store/manifest/local.ts';
import type { ManifestStore, ReferrersStore } from '../store/manifests.ts';
import { blobPath } from '../store/part/layout.ts';
import { createOfflineUpstream } from '../upstream/sources/offline.ts';
import { knownPlatforms } from './after-pulls.ts';

/** Digests per read of the index. */
const PAGE = 1000;

/** The cached content of a data directory that another process may own. */
export interface StoredContent {
  readonly manifests: Pick<ManifestStore, 'getTag' | 'getManifest' | 'getLink'>;
  readonly referrers: Pick<ReferrersStore, 'getReferrers'>;
  readonly files: BlobFiles;
  /** Every tag, and by digest each image that has no tag and is in no index. */
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
    // Nothing is written here, so no write can fail.
    referrers: createReferrersStore({ tables: index.tables, tell: () => undefined, hasRoom: () => false }),
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
    // Attestations come with their images.
    const isImage = content !== undefined && (content.kind === 'index' || isRunnableImage(content));
    if (tags.length === 0 && indexes.length === 0 && isImage) yield { repository, digest, platforms: [] };
  }
}

function* blobDigests({ blobs }: IndexTables): Generator<Digest, void> {
  for (let page = blobs.page(PAGE); page.length > 0; page = blobs.page(PAGE, page.at(-1))) yield* page;
}

/**
 * Which images could be pulled now if no upstream answered. Another process may own the data directory meanwhile. Throws
 * OperationError `usage`, DataDirError, IndexError.
 */
export async function readReadiness(settings: Settings, request: ImagesRequest): Promise<Readiness[]> {
  const wanted = wantedImages(request, knownPlatforms(settings));
  const store = await openStore(settings.dataDir);
  try {
    const readiness = new ImageReadiness({
      store,
      hasBlob: blobFinder(settings.dataDir),
      refusal: refusalOf(settings, store),
    });
    const results: Readiness[] = [];
    for (const each of wanted) results.push(await readiness.of(each));
    return results;
  } finally {
    await store.close();
  }
}

/** An empty store if the data directory is missing or empty. */
async function openStore(dataDir: string): Promise<ManifestStore> {
  if ((await dataDirState(dataDir)) !== 'data') return createMemoryStore({ maxManifestBytes: 1 });
  return readIndex(dataDir);
}

/** Counts files that the index lacks, too: a request for such a blob enters it. */
function blobFinder(dataDir: string): (blob: Descriptor) => Promise<boolean> {
  const found = new Map<Digest, number | undefined>();
  return async function hasBlob({ digest, size }) {
    if (!found.has(digest)) {
      const file = await stat(blobPath(dataDir, digest)).catch(() => undefined);
      found.set(digest, file?.isFile() === true ? file.size : undefined);
    }
    return found.get(digest) === size;
  };
}

/** The rules of serving while upstream is unreachable. */
function refusalOf(settings: Settings, store: ManifestStore) {
  const scope = new TagScope(new PullRules(settings.upstreams), store);
  const access = new RepositoryAccess({
    store,
    scope,
    privatePatterns: privatePatterns(settings),
    now: Date.now,
  });
  return async function refusal({ repository, tag, digest }: ListedImage): Promise<string | undefined> {
    const { host } = repository;
    const entry = settings.upstreams[host];
    if (entry === undefined) return `${host} is not an upstream; add it to \`upstreams\``;
    try {
      if (tag !== undefined) await scope.require(repository, { kind: 'tag', tag });
      if (digest !== undefined) await scope.require(repository, { kind: 'digest', digest });
    } catch (error) {
      if (error instanceof PullError) return error.message;
      throw error;
    }
    const upstream = createOfflineUpstream({ host, hasCredentials: usesCredentials(entry) });
    if (await access.isListed(upstream, repository)) return undefined;
    return 'its repository was not found to be public, and no `private` pattern names it';
  };
}
