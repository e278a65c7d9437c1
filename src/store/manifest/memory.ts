import { LRUCache } from 'lru-cache';
import { atMost } from '../../lib/lru-options.ts';
import type { Digest } from '../../oci/digest.ts';
import { repositoryKey } from '../../oci/reference.ts';
import type { Removed } from '../index/removal.ts';
import type {
  Link,
  ManifestStore,
  Remembered,
  RepositoryRecord,
  StoredManifest,
  TagRecord,
} from '../manifest-store.ts';
import { replaces } from '../tag-order.ts';

const MAX_TAGS = 50_000;
const MAX_LINKS = 200_000;
const MAX_REPOSITORIES = 20_000;
/** What an entry costs besides: what was read of a manifest stays with its bytes, and takes up to twice as much. */
const ENTRY_BYTES = 300;
const BYTES_PER_BYTE = 3;

export interface MemoryStore extends ManifestStore {
  readonly remembered: Remembered;
  /** What was removed from the tiers behind must not be served from here. */
  forget(removed: Pick<Removed, 'manifests' | 'tags' | 'links'>): void;
}

/** The fastest tier: what was used lately, as long as there is room. It forgets, and never lies. */
export function createMemoryStore(options: { readonly maxManifestBytes: number }): MemoryStore {
  const manifests = new LRUCache<Digest, StoredManifest>({
    maxSize: options.maxManifestBytes,
    sizeCalculation: (manifest) => BYTES_PER_BYTE * manifest.bytes.length + ENTRY_BYTES,
  });
  const tags = new LRUCache<string, TagRecord>(atMost(MAX_TAGS));
  const links = new LRUCache<string, Link>(atMost(MAX_LINKS));
  const repositories = new LRUCache<string, RepositoryRecord>(atMost(MAX_REPOSITORIES));
  const remembered: Remembered = {
    manifest: (digest) => manifests.get(digest),
    tag: (repository, tag) => tags.get(`${repositoryKey(repository)}:${tag}`),
    link: (repository, digest) => links.get(`${repositoryKey(repository)}@${digest}`),
    repository: (repository) => repositories.get(repositoryKey(repository)),
  };
  return {
    remembered,
    getManifest: async (digest) => remembered.manifest(digest),
    putManifest: async (manifest) => {
      manifests.set(manifest.digest, manifest);
    },
    getTag: async (repository, tag) => remembered.tag(repository, tag),
    putTag: async (repository, tag, record) => {
      const key = `${repositoryKey(repository)}:${tag}`;
      const known = tags.peek(key);
      if (known === undefined || replaces(record, known)) tags.set(key, record);
    },
    deleteTag: async (repository, tag) => {
      tags.delete(`${repositoryKey(repository)}:${tag}`);
    },
    getLink: async (repository, digest) => remembered.link(repository, digest),
    putLinks: async (repository, added) => {
      for (const [digest, link] of added) {
        const key = `${repositoryKey(repository)}@${digest}`;
        if (link.by === 'manifest' || links.peek(key)?.by !== 'manifest') links.set(key, link);
      }
    },
    getRepository: async (repository) => remembered.repository(repository),
    putRepository: async (repository, record) => {
      repositories.set(repositoryKey(repository), record);
    },
    forget: (removed) => {
      for (const digest of removed.manifests) manifests.delete(digest);
      for (const [repository, tag] of removed.tags) tags.delete(`${repository}:${tag}`);
      for (const [repository, digest] of removed.links) links.delete(`${repository}@${digest}`);
    },
    close: async () => undefined,
  };
}
