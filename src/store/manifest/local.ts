import { LRUCache } from 'lru-cache';
import type { Tell } from '../../events/events.ts';
import { atMost } from '../../lib/caches.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Manifest } from '../../oci/manifest.ts';
import { repositoryKey, type Repository } from '../../oci/reference.ts';
import { IndexWriteError } from '../index/environment.ts';
import type { Removed } from '../index/removal.ts';
import {
  type Link,
  type ManifestStore,
  type Remembered,
  type RepositoryRecord,
  type TagRecord,
  replaces,
} from '../manifests.ts';

const MAX_TAGS = 50_000;
const MAX_LINKS = 200_000;
const MAX_OFFERS = 200_000;
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
  const manifests = new LRUCache<Digest, Manifest>({
    maxSize: options.maxManifestBytes,
    sizeCalculation: (manifest) => BYTES_PER_BYTE * manifest.bytes.length + ENTRY_BYTES,
  });
  const tags = new LRUCache<string, TagRecord>(atMost(MAX_TAGS));
  const links = new LRUCache<string, Link>(atMost(MAX_LINKS));
  const offers = new LRUCache<string, true>(atMost(MAX_OFFERS));
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
      manifests.set(manifest.descriptor.digest, manifest);
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
    isOffered: async (repository, digest) => offers.has(`${repositoryKey(repository)}@${digest}`),
    putOffers: async (repository, digests) => {
      for (const digest of digests) offers.set(`${repositoryKey(repository)}@${digest}`, true);
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

const PROBE_EVERY_MS = 2000;

export interface GuardedStoreOptions {
  /** Whether the cache may grow by about so many bytes of the index; default it may. */
  readonly hasRoom?: (bytes: number) => boolean;
  /** A small write, to find out whether writing works again. */
  readonly probe: () => Promise<void>;
  readonly tell: Tell<'indexFailed' | 'indexHealth'>;
}

/** A store whose failures are misses: it forgets puts, and says so until it works again. */
export interface GuardedStore extends ManifestStore {
  readonly isFailing: boolean;
}

/** Keeps the failures of a disk from whoever wants a manifest that memory, Redis or upstream can still give. */
export function createGuardedStore(store: ManifestStore, options: GuardedStoreOptions): GuardedStore {
  return new Guarded(store, options);
}

class Guarded implements GuardedStore {
  readonly #store: ManifestStore;
  readonly #options: GuardedStoreOptions;
  #timer: NodeJS.Timeout | undefined;

  constructor(store: ManifestStore, options: GuardedStoreOptions) {
    this.#store = store;
    this.#options = options;
  }

  get isFailing(): boolean {
    return this.#timer !== undefined;
  }

  getManifest(digest: Digest): Promise<Manifest | undefined> {
    return this.#try(() => this.#store.getManifest(digest));
  }

  async putManifest(manifest: Manifest): Promise<void> {
    if (this.#hasRoom(manifest.bytes.length)) await this.#try(() => this.#store.putManifest(manifest));
  }

  getTag(repository: Repository, tag: string): Promise<TagRecord | undefined> {
    return this.#try(() => this.#store.getTag(repository, tag));
  }

  async putTag(repository: Repository, tag: string, record: TagRecord): Promise<void> {
    // One whose manifest there was no room for would name what the next start has not.
    const { digest } = record.descriptor;
    if (!this.#hasRoom(0) && (await this.getManifest(digest)) === undefined) return;
    await this.#try(() => this.#store.putTag(repository, tag, record));
  }

  async deleteTag(repository: Repository, tag: string): Promise<void> {
    await this.#try(() => this.#store.deleteTag(repository, tag));
  }

  getLink(repository: Repository, digest: Digest): Promise<Link | undefined> {
    return this.#try(() => this.#store.getLink(repository, digest));
  }

  async putLinks(repository: Repository, links: ReadonlyMap<Digest, Link>): Promise<void> {
    if (this.#hasRoom(0)) await this.#try(() => this.#store.putLinks(repository, links));
  }

  async isOffered(repository: Repository, digest: Digest): Promise<boolean> {
    return (await this.#try(() => this.#store.isOffered(repository, digest))) ?? false;
  }

  async putOffers(repository: Repository, digests: readonly Digest[]): Promise<void> {
    if (this.#hasRoom(0)) await this.#try(() => this.#store.putOffers(repository, digests));
  }

  getRepository(repository: Repository): Promise<RepositoryRecord | undefined> {
    return this.#try(() => this.#store.getRepository(repository));
  }

  async putRepository(repository: Repository, record: RepositoryRecord): Promise<void> {
    await this.#try(() => this.#store.putRepository(repository, record));
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#store.close();
  }

  /** A cache that is full by its own limit is no fault; what it lacks is a miss. */
  #hasRoom(bytes: number): boolean {
    const { hasRoom, tell } = this.#options;
    const may = hasRoom?.(bytes) ?? true;
    if (!may)
      tell('indexFailed', { error: new IndexWriteError('full', 'the cache is full of what must stay') });
    return may;
  }

  async #try<T>(call: () => Promise<T>): Promise<T | undefined> {
    try {
      return await call();
    } catch (error) {
      this.#options.tell('indexFailed', { error });
      this.#failed();
      return undefined;
    }
  }

  #failed(): void {
    if (this.#timer !== undefined) return;
    this.#timer = setInterval(() => void this.#probe(), PROBE_EVERY_MS);
    this.#timer.unref();
    this.#options.tell('indexHealth', { isFailing: true });
  }

  async #probe(): Promise<void> {
    try {
      await this.#options.probe();
    } catch {
      return;
    }
    if (this.#timer === undefined) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#options.tell('indexHealth', { isFailing: false });
  }
}
