import type { Tell } from '../../events/events.ts';
import { digestMatches, type Digest } from '../../oci/digest.ts';
import type { Manifest } from '../../oci/manifest.ts';
import { repositoryKey, type Repository } from '../../oci/reference.ts';
import type { ListedBlobIndex } from '../blob/audit.ts';
import type { ListedBlob, Bookmark, Bookmarks } from '../blobs.ts';
import { imageNames } from '../index/closure.ts';
import { CHANGES_PER_TURN, IndexError, IndexWriteError } from '../index/environment.ts';
import { indexPath, inspectIndex } from '../index/inspection.ts';
import { contentOf, namedBy } from '../index/manifests.ts';
import { disclaimBlobs, nothingRemoved } from '../index/removal.ts';
import { IndexTables, upgradeIndex } from '../index/tables.ts';
import type {
  ManifestAudit,
  Catalog,
  Link,
  LocalManifestStore,
  RepositoryRecord,
  TagRecord,
  ReferrersRecord,
  ReferrersStore,
} from '../manifests.ts';

export interface IndexOptions {
  readonly readOnly?: boolean;
  readonly now?: () => number;
  readonly tell?: Tell<'indexDamaged'> | undefined;
}

/**
 * The embedded store: all data but the bytes of blobs, in one LMDB environment. Changes throw IndexWriteError if the
 * disk refuses them.
 */
export interface Index extends LocalManifestStore, Catalog, ListedBlobIndex, ManifestAudit, Bookmarks {
  /** For work on the whole index. */
  readonly tables: IndexTables;
  /** Call this once before any change: adds the data that an index of an earlier version lacks. */
  upgrade(): Promise<void>;
  /** A small write; throws IndexWriteError if the disk refuses it. */
  probe(): Promise<void>;
  /** The size of the file. */
  fileBytes(): number;
  /** The damage in LMDB's words; undefined if none was seen. */
  readonly problem: string | undefined;
}

/**
 * Opens or makes the index in the directory `path`. Inspect it first: a damaged index ends the process. Throws
 * IndexError.
 */
export function openIndex(path: string, options: IndexOptions = {}): Index {
  const { readOnly = false, now = Date.now, tell } = options;
  return new LmdbIndex(new IndexTables(path, { readOnly, tell }), now);
}

/** Opens the index of a data directory for reading, also while another process owns it. Throws IndexError. */
export async function readIndex(dataDir: string): Promise<Index> {
  const path = indexPath(dataDir);
  const damage = await inspectIndex(path, 'reader');
  if (damage !== undefined) {
    throw new IndexError(`the index at ${path} is damaged: ${damage}; restart pierhead to rebuild it`);
  }
  return openIndex(path, { readOnly: true });
}

class LmdbIndex implements Index {
  readonly tables: IndexTables;
  readonly #now: () => number;

  constructor(tables: IndexTables, now: () => number) {
    this.tables = tables;
    this.#now = now;
  }

  upgrade(): Promise<void> {
    return upgradeIndex(this.tables, this.#now);
  }

  async probe(): Promise<void> {
    const { environment, meta } = this.tables;
    await environment.write(() => meta.put('probedAt', this.#now()));
  }

  fileBytes(): number {
    return this.tables.environment.fileBytes();
  }

  get problem(): string | undefined {
    return this.tables.environment.problem;
  }

  /** A damaged manifest is a miss: it is fetched again and replaced. */
  getManifest(digest: Digest): Manifest | undefined {
    const manifest = this.tables.manifests.get(digest);
    return manifest !== undefined && digestMatches(digest, manifest.bytes) ? manifest : undefined;
  }

  async putManifest(manifest: Manifest): Promise<void> {
    const { environment, manifests } = this.tables;
    const names = [...namedBy(contentOf(manifest))];
    const enter = (named: Digest): void => manifests.enter(manifest.descriptor.digest, named);
    const putFirst = (): void => {
      manifests.put(manifest, this.#now());
      names.slice(0, CHANGES_PER_TURN).forEach(enter);
    };
    await environment.write(putFirst, { bytes: manifest.bytes.length });
    // After a kill, the other digests count as named by no manifest: they are evicted earlier, but nothing stays for
    // ever.
    await environment.writeEach(names.slice(CHANGES_PER_TURN), enter);
  }

  async deleteManifest(digest: Digest): Promise<void> {
    const { environment, manifests } = this.tables;
    const remove = (): void => {
      manifests.remove(digest);
      disclaimBlobs(this.tables, digest, nothingRemoved());
    };
    await environment.write(remove, { frees: true });
  }

  listManifests(options: { readonly after?: Digest | undefined; readonly limit: number }) {
    const { manifests } = this.tables;
    return manifests
      .page(options.limit, options.after)
      .map((digest) => ({ digest, manifest: manifests.get(digest) }));
  }

  getTag(repository: Repository, tag: string): TagRecord | undefined {
    return this.tables.tags.get([repositoryKey(repository), tag]);
  }

  async putTag(repository: Repository, tag: string, record: TagRecord): Promise<void> {
    const { environment, tags, repositories } = this.tables;
    const name = repositoryKey(repository);
    await environment.write(() => {
      tags.put([name, tag], record);
      repositories.list(name);
    });
  }

  async deleteTag(repository: Repository, tag: string): Promise<void> {
    const { environment, tags, repositories } = this.tables;
    const name = repositoryKey(repository);
    await environment.write(() => {
      tags.remove([name, tag]);
      repositories.unlistIfEmpty(name);
    });
  }

  getLink(repository: Repository, digest: Digest): Link | undefined {
    return this.tables.links.get(repositoryKey(repository), digest);
  }

  async putLinks(repository: Repository, added: ReadonlyMap<Digest, Link>): Promise<void> {
    const { environment, links, repositories } = this.tables;
    const name = repositoryKey(repository);
    await environment.writeEach(added, ([digest, link]) => {
      links.put(name, digest, link);
      repositories.list(name);
    });
  }

  isOffered(repository: Repository, digest: Digest): boolean {
    return this.tables.offers.has(digest, repositoryKey(repository));
  }

  async putOffers(repository: Repository, digests: readonly Digest[]): Promise<void> {
    const { environment, offers } = this.tables;
    const name = repositoryKey(repository);
    await environment.writeEach(digests, (digest) => offers.put(digest, name));
  }

  getRepository(repository: Repository): RepositoryRecord | undefined {
    return this.tables.repositories.get(repositoryKey(repository));
  }

  async putRepository(repository: Repository, record: RepositoryRecord): Promise<void> {
    const { environment, repositories } = this.tables;
    await environment.write(() => repositories.put(repositoryKey(repository), record));
  }

  async listRepositories(options: {
    readonly after?: string | undefined;
    readonly limit: number;
  }): Promise<string[]> {
    return this.tables.repositories.listed(options);
  }

  async listTags(repository: Repository): Promise<string[]> {
    return this.tables.tags.of(repositoryKey(repository));
  }

  async listImagesOf(digest: Digest): Promise<string[]> {
    return imageNames(this.tables, digest);
  }

  getBlob(digest: Digest): { readonly size: number } | undefined {
    const size = this.tables.blobs.size(digest);
    return size === undefined ? undefined : { size };
  }

  async putBlob(
    digest: Digest,
    { size, usedAt = this.#now() }: { readonly size: number; readonly usedAt?: number },
  ): Promise<void> {
    const { environment, blobs } = this.tables;
    await environment.write(() => blobs.put(digest, size, usedAt));
  }

  async deleteBlob(digest: Digest): Promise<void> {
    const { environment, blobs } = this.tables;
    if (blobs.size(digest) === undefined) return;
    await environment.write(() => blobs.remove(digest), { frees: true });
  }

  listBlobs(prefix: string): ListedBlob[] {
    return this.tables.blobs.startingWith(prefix);
  }

  getBookmark(name: string): Bookmark | undefined {
    return this.tables.bookmarks.get(name);
  }

  async putBookmark(name: string, bookmark: Bookmark): Promise<void> {
    const { environment, bookmarks } = this.tables;
    await environment.write(() => bookmarks.put(name, bookmark));
  }

  blobTotals(): { readonly blobs: number; readonly bytes: number } {
    const { count, bytes } = this.tables.totals.of('blobs');
    return { blobs: count, bytes };
  }

  manifestTotals(): { readonly manifests: number; readonly bytes: number } {
    const { count, bytes } = this.tables.totals.of('manifests');
    return { manifests: count, bytes };
  }

  async close(): Promise<void> {
    await this.tables.environment.close();
  }
}

export interface ReferrersStoreOptions {
  readonly tables: IndexTables;
  readonly tell: Tell<'indexFailed'>;
  /** Whether the index may grow by about `bytes`; referrers may have 4 MiB. */
  readonly hasRoom: (bytes: number) => boolean;
}

/** Referrers in the index, only of manifests in it. */
export function createReferrersStore(options: ReferrersStoreOptions): ReferrersStore {
  return new LmdbReferrers(options);
}

class LmdbReferrers implements ReferrersStore {
  readonly #tables: IndexTables;
  readonly #tell: Tell<'indexFailed'>;
  readonly #hasRoom: (bytes: number) => boolean;

  constructor({ tables, tell, hasRoom }: ReferrersStoreOptions) {
    this.#tables = tables;
    this.#tell = tell;
    this.#hasRoom = hasRoom;
  }

  getReferrers(repository: Repository, digest: Digest): ReferrersRecord | undefined {
    return this.#tables.referrers.get(digest, repositoryKey(repository));
  }

  async putReferrers(repository: Repository, digest: Digest, record: ReferrersRecord): Promise<void> {
    const { manifests, referrers } = this.#tables;
    if (!manifests.has(digest) || !this.#hasRoom(record.bytes.length)) return;
    const key = repositoryKey(repository);
    await this.#write(() => referrers.put(digest, key, record), { bytes: record.bytes.length });
  }

  async deleteReferrers(repository: Repository, digest: Digest): Promise<void> {
    const { referrers } = this.#tables;
    const key = repositoryKey(repository);
    if (referrers.get(digest, key) === undefined) return;
    await this.#write(() => referrers.remove(digest, key), { frees: true });
  }

  /** A failed write must not fail the client's request. */
  async #write(change: () => void, options: { readonly bytes?: number; readonly frees?: boolean }) {
    try {
      await this.#tables.environment.write(change, options);
    } catch (error) {
      if (!(error instanceof IndexWriteError)) throw error;
      this.#tell('indexFailed', { error });
    }
  }
}
