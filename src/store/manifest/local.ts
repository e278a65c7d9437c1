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
/** A parsed manifest stays in memory with its bytes, and takes up to twice their size. */
const ENTRY_BYTES = 300;
const BYTES_PER_BYTE = 3;

export interface MemoryStore extends LocalManifestStore {
  forget(removed: Pick<Removed, 'manifests' | 'tags' | 'links'>): void;
}

/** The recently used records. */
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
      // The index drops offers with the manifests that contain them. An offer kept here would not be written again.
      offers.clear();
    },
    close: async () => undefined,
  };
}

const PROBE_EVERY_MS = 2000;

export interface LocalStoreOptions {
  readonly index: LocalManifestStore;
  /** Limit of the manifests in memory, in bytes. */
  readonly maxManifestBytes: number;
  /** Whether the index may grow by about `bytes`. Default: always. */
  readonly hasRoom?: (bytes: number) => boolean;
  /** A small write, to test whether the disk is writable again. */
  readonly probe: () => Promise<void>;
  readonly tell: Tell<'indexFailed' | 'indexHealth'>;
  /** Ms since the epoch; default the clock. */
  readonly now?: () => number;
}

/**
 * The local store: memory, then the index. Failures of the index must not fail pulls: a failed read is a miss, and a
 * record that cannot be written stays in memory until the next restart.
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

  /** Whether the last access to the index failed. */
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
    return record !== undefined && this.#isFromFuture(record)
      ? this.#setBack(repository, tag, record)
      : record;
  }

  /**
   * Does not wait for the disk if the check failed: in an outage, every pull comes through here. A lost record costs
   * only one more check after a restart.
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

  /** Forgets records that were removed from the index. */
  forget(removed: Pick<Removed, 'manifests' | 'tags' | 'links'>): void {
    this.#memory.forget(removed);
  }

  /** Writes a manifest from memory that the index lacks: the write failed, or it was removed just now. */
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
    // Without its manifest, which had no room, the tag would be useless after a restart.
    const { digest } = record.descriptor;
    if (!this.#hasRoom(0) && this.#look((index) => index.getManifest(digest)) === undefined) return;
    await this.#change((index) => index.putTag(repository, tag, record));
  }

  #isFromFuture({ checkedAt, confirmedAt }: TagRecord): boolean {
    return Math.max(checkedAt, confirmedAt) > this.#now() + CLOCK_SKEW_MS;
  }

  /** The clock was ahead. The tag keeps its digest, and becomes due for a check (unless its TTL is `never`). */
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

  /** A full cache is not a failure of the index; a record that is not stored becomes a miss. */
  #hasRoom(bytes: number): boolean {
    const { hasRoom, tell } = this.#options;
    const isAllowed = hasRoom?.(bytes) ?? true;
    if (!isAllowed)
      tell('indexFailed', { error: new IndexWriteError('full', 'the cache is full of what must stay') });
    return isAllowed;
  }

  /** Reading a closed index would end the process. */
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
