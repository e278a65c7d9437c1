import type { Digest } from '../../oci/digest.ts';
import type { Repository } from '../../oci/reference.ts';
import { IndexWriteError } from '../index/environment.ts';
import type { Link, ManifestStore, RepositoryRecord, StoredManifest, TagRecord } from '../manifest-store.ts';

const PROBE_EVERY_MS = 2000;

export interface GuardedStoreOptions {
  /** Whether the cache may grow by about so many bytes of the index; default it may. */
  readonly hasRoom?: (bytes: number) => boolean;
  /** A small write, to find out whether writing works again. */
  readonly probe: () => Promise<void>;
  /** Told of every failure. */
  readonly onError: (error: unknown) => void;
  /** Told when it begins to fail, and when it works again. */
  readonly onChange: (isFailing: boolean) => void;
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

  getManifest(digest: Digest): Promise<StoredManifest | undefined> {
    return this.#try(() => this.#store.getManifest(digest));
  }

  async putManifest(manifest: StoredManifest): Promise<void> {
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
    const { hasRoom, onError } = this.#options;
    const may = hasRoom?.(bytes) ?? true;
    if (!may) onError(new IndexWriteError('full', 'the cache is full of what must stay'));
    return may;
  }

  async #try<T>(call: () => Promise<T>): Promise<T | undefined> {
    try {
      return await call();
    } catch (error) {
      this.#options.onError(error);
      this.#failed();
      return undefined;
    }
  }

  #failed(): void {
    if (this.#timer !== undefined) return;
    this.#timer = setInterval(() => void this.#probe(), PROBE_EVERY_MS);
    this.#timer.unref();
    this.#options.onChange(true);
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
    this.#options.onChange(false);
  }
}
