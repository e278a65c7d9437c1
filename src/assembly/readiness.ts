import { stat } from 'node:fs/promises';
import type { Settings } from '../config/settings.ts';
import type { Digest } from '../oci/digest.ts';
import type { ListedImage } from '../oci/listed-image.ts';
import { ImageReadiness, type Readiness } from '../pull/image-readiness.ts';
import { PullError } from '../pull/pull-error.ts';
import { PullRules } from '../pull/pull-rules.ts';
import { RepositoryAccess } from '../pull/repository-access.ts';
import { TagScope } from '../pull/tag-scope.ts';
import { wantedImages, type ImagesRequest } from '../pull/wanted-images.ts';
import { blobPath } from '../store/blob/layout.ts';
import { dataDirState } from '../store/data-dir.ts';
import type { ManifestStore } from '../store/manifest-store.ts';
import { readIndex } from '../store/manifest/lmdb.ts';
import { createMemoryStore } from '../store/manifest/memory.ts';
import { createOfflineUpstream } from '../upstream/offline.ts';
import { knownPlatforms } from './known-clients.ts';
import { privatePatterns, usesCredentials } from './upstreams.ts';

/**
 * Which images could be pulled now if no upstream answered, read beside whoever owns the data directory. Throws
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

/** Where nothing was ever kept there is no index, and nothing in it either. */
async function openStore(dataDir: string): Promise<ManifestStore> {
  if ((await dataDirState(dataDir)) !== 'data') return createMemoryStore({ maxManifestBytes: 1 });
  return readIndex(dataDir);
}

/** A whole file is a blob, whether or not the index knows it yet: it is taken in when it is asked for. */
function blobFinder(dataDir: string): (digest: Digest, size: number) => Promise<boolean> {
  const found = new Map<Digest, number | undefined>();
  return async function hasBlob(digest, size) {
    if (!found.has(digest)) {
      const file = await stat(blobPath(dataDir, digest)).catch(() => undefined);
      found.set(digest, file?.isFile() === true ? file.size : undefined);
    }
    return found.get(digest) === size;
  };
}

/** The rules of serving, as they are while upstream is away. */
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
    if (entry === undefined) return `${host} is not among the upstreams of the settings`;
    try {
      if (tag !== undefined) await scope.require(repository, { kind: 'tag', tag });
      if (digest !== undefined) await scope.require(repository, { kind: 'digest', digest });
    } catch (error) {
      if (error instanceof PullError) return error.message;
      throw error;
    }
    const upstream = createOfflineUpstream({ host, hasCredentials: usesCredentials(entry) });
    if (await access.isListed(upstream, repository)) return undefined;
    return 'its repository is not known to be public, and no private pattern names it';
  };
}
