import { LRUCache } from 'lru-cache';
import type { Tell } from '../../events/events.ts';
import { atMost } from '../../lib/caches.ts';
import { CLOCK_SKEW_MS } from '../../lib/clock.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Manifest } from '../../oci/manifest.ts';
import { repositoryKey, type Repository } from '../../oci/reference.ts';
import { IndexWriteError } from '../index/environment.ts';
import type { Removed } from '../index/removal.ts';
import {
  type Link,
  type LocalManifestStore,
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

export interface MemoryStore extends LocalManifestStore {
  forget(removed: Pick<Removed, 'manifests' | 'tags' | 'links'>): void;
}

/** What was used lately, as long as there is room. It forgets, and never lies. */
export function createMemoryStore(options: { readonly maxManifestBytes: number }): MemoryStore {
  const manifests = new LRUCache<Digest, Manifest>({
    maxSize: options.maxManifestBytes,
    sizeCalculation: (manifest) => BYTES_PER_BYTE * manifest.bytes.length + ENTRY_BYTES,
  });
  const tags = new LRUCache<string, TagRecord>(atMost(MAX_TAGS));
  const links = new LRUCache<string, Link>(atMost(MAX_LINKS));
  const offers = new LRUCache<string, true>(atMost(MAX_OFFERS));
  const repositories = new LRUCache<string, RepositoryRecord>(atMost(MAX_REPOSITORIES));
  return {
    getManifest: (digest) => manifests.get(digest),
    putManifest: async (manifest) => {
      manifests.set(manifest.descriptor.digest, manifest);
    },
    getTag: (repository, tag) => tags.get(`${repositoryKey(repository)}:${tag}`),
    putTag: async (repository, tag, record) => {
      const key = `${repositoryKey(repository)}:${tag}`;
      const known = tags.peek(key);
      if (known === undefined || replaces(record, known)) tags.set(key, record);
    },
    deleteTag: async (repository, tag) => {
      tags.delete(`${repositoryKey(repository)}:${tag}`);
    },
    getLink: (repository, digest) => links.get(`${repositoryKey(repository)}@${digest}`),
    putLinks: async (repository, added) => {
      for (const [digest, link] of added) {
        const key = `${repositoryKey(repository)}@${digest}`;
        if (link.by === 'manifest' || links.peek(key)?.by !== 'manifest') links.set(key, link);
      }
    },
    isOffered: (repository, digest) => offers.has(`${repositoryKey(repository)}@${digest}`),
    putOffers: async (repository, digests) => {
      for (const digest of digests) offers.set(`${repositoryKey(repository)}@${digest}`, true);
    },
    getRepository: (repository) => repositories.get(repositoryKey(repository)),
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

export interface LocalStoreOptions {
  readonly index: LocalManifestStore;
  /** Manifests that are kept in memory, in bytes. */
  readonly maxManifestBytes: number;
  /** Whether the cache may grow by about so many bytes of the index; default it may. */
  readonly hasRoom?: (bytes: number) => boolean;
  /** A small write, to find out whether writing works again. */
  readonly probe: () => Promise<void>;
  readonly tell: Tell<'indexFailed' | 'indexHealth'>;
  /** Ms since the epoch; default the clock. */
  readonly now?: () => number;
}

/**
 * All that this server knows itself: memory before the index. Faults of the index are misses, and what it refuses is
 * forgotten with the next restart, so that they stay away from whoever wants what memory, Redis or upstream can give.
 */
export class LocalStore implements LocalManifestStore {
  readonly #options: LocalStoreOptions;
  readonly #memory: MemoryStore;
  readonly #index: LocalManifestStore;
  readonly #now: () => number;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(options: LocalStoreOptions) {
    this.#options = options;
    this.#memory = createMemoryStore(options);
    this.#index = options.index;
    this.#now = options.now ?? Date.now;
  }

  /** Whether the index failed last. */
  get isFailing(): boolean {
    return this.#timer !== undefined;
  }

  getManifest(digest: Digest): Manifest | undefined {
    const recent = this.#memory.getManifest(digest);
    if (recent !== undefined) return recent;
    const manifest = this.#look((index) => index.getManifest(digest));
    if (manifest !== undefined) void this.#memory.putManifest(manifest);
    return manifest;
  }

  async putManifest(manifest: Manifest): Promise<void> {
    await this.#memory.putManifest(manifest);
    await this.#keepManifest(manifest);
  }

  getTag(repository: Repository, tag: string): TagRecord | undefined {
    const record = this.#memory.getTag(repository, tag) ?? this.#storedTag(repository, tag);
    return record !== undefined && this.#isAhead(record) ? this.#setBack(repository, tag, record) : record;
  }

  /**
   * Nobody waits for the disk to learn that a check has failed: without it there is one check more after a restart, and
   * in an outage every pull is on its way through here.
   */
  async putTag(repository: Repository, tag: string, record: TagRecord): Promise<void> {
    await this.#memory.putTag(repository, tag, record);
    const kept = this.#keepTag(repository, tag, record);
    if (record.failure === undefined) await kept;
  }

  async deleteTag(repository: Repository, tag: string): Promise<void> {
    await this.#memory.deleteTag(repository, tag);
    await this.#change((index) => index.deleteTag(repository, tag));
  }

  getLink(repository: Repository, digest: Digest): Link | undefined {
    const recent = this.#memory.getLink(repository, digest);
    if (recent !== undefined) return recent;
    const link = this.#look((index) => index.getLink(repository, digest));
    if (link !== undefined) void this.#memory.putLinks(repository, new Map([[digest, link]]));
    return link;
  }

  async putLinks(repository: Repository, links: ReadonlyMap<Digest, Link>): Promise<void> {
    await this.#memory.putLinks(repository, links);
    if (this.#hasRoom(0)) await this.#change((index) => index.putLinks(repository, links));
  }

  isOffered(repository: Repository, digest: Digest): boolean {
    if (this.#memory.isOffered(repository, digest)) return true;
    const isOffered = this.#look((index) => index.isOffered(repository, digest)) ?? false;
    if (isOffered) void this.#memory.putOffers(repository, [digest]);
    return isOffered;
  }

  async putOffers(repository: Repository, digests: readonly Digest[]): Promise<void> {
    await this.#memory.putOffers(repository, digests);
    if (this.#hasRoom(0)) await this.#change((index) => index.putOffers(repository, digests));
  }

  getRepository(repository: Repository): RepositoryRecord | undefined {
    const recent = this.#memory.getRepository(repository);
    if (recent !== undefined) return recent;
    const record = this.#look((index) => index.getRepository(repository));
    if (record !== undefined) void this.#memory.putRepository(repository, record);
    return record;
  }

  async putRepository(repository: Repository, record: RepositoryRecord): Promise<void> {
    await this.#memory.putRepository(repository, record);
    await this.#change((index) => index.putRepository(repository, record));
  }

  /** What was removed from the index must not be served from memory. */
  forget(removed: Pick<Removed, 'manifests' | 'tags' | 'links'>): void {
    this.#memory.forget(removed);
  }

  /** The index lacks a manifest that was served from memory: it could not be written, or was just removed. */
  async restore(digest: Digest): Promise<void> {
    const manifest = this.#memory.getManifest(digest);
    if (manifest !== undefined) await this.#keepManifest(manifest);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#timer);
    await this.#index.close();
  }

  #storedTag(repository: Repository, tag: string): TagRecord | undefined {
    const record = this.#look((index) => index.getTag(repository, tag));
    if (record !== undefined) void this.#memory.putTag(repository, tag, record);
    return record;
  }

  async #keepManifest(manifest: Manifest): Promise<void> {
    if (this.#hasRoom(manifest.bytes.length)) await this.#change((index) => index.putManifest(manifest));
  }

  async #keepTag(repository: Repository, tag: string, record: TagRecord): Promise<void> {
    // One whose manifest there was no room for would name what the next start has not.
    const { digest } = record.descriptor;
    if (!this.#hasRoom(0) && this.#look((index) => index.getManifest(digest)) === undefined) return;
    await this.#change((index) => index.putTag(repository, tag, record));
  }

  #isAhead({ checkedAt, confirmedAt }: TagRecord): boolean {
    return Math.max(checkedAt, confirmedAt) > this.#now() + CLOCK_SKEW_MS;
  }

  /** The clock was ahead then: what the tag named is true still, and due to be checked, unless it never is. */
  #setBack(repository: Repository, tag: string, record: TagRecord): TagRecord {
    const aged = { ...record, checkedAt: 1, confirmedAt: this.#now() };
    const change = async (): Promise<void> => {
      await this.#change((index) => index.deleteTag(repository, tag));
      await this.#keepTag(repository, tag, aged);
    };
    void this.#memory.deleteTag(repository, tag);
    void this.#memory.putTag(repository, tag, aged);
    void change();
    return aged;
  }

  /** A cache that is full by its own limit is no fault; what it lacks is a miss. */
  #hasRoom(bytes: number): boolean {
    const { hasRoom, tell } = this.#options;
    const may = hasRoom?.(bytes) ?? true;
    if (!may)
      tell('indexFailed', { error: new IndexWriteError('full', 'the cache is full of what must stay') });
    return may;
  }

  /** An index that is closed is not read: that would end the process. */
  #look<T>(look: (index: LocalManifestStore) => T | undefined): T | undefined {
    if (this.#isClosed) return undefined;
    try {
      return look(this.#index);
    } catch (error) {
      this.#failed(error);
      return undefined;
    }
  }

  async #change(change: (index: LocalManifestStore) => Promise<void>): Promise<void> {
    try {
      await change(this.#index);
    } catch (error) {
      this.#failed(error);
    }
  }

  #failed(error: unknown): void {
    const { tell } = this.#options;
    tell('indexFailed', { error });
    if (this.#timer !== undefined) return;
    this.#timer = setInterval(() => void this.#probe(), PROBE_EVERY_MS);
    this.#timer.unref();
    tell('indexHealth', { isFailing: true });
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
