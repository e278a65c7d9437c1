import { open, type Database, type RootDatabase } from 'lmdb';
import type { Digest } from '../../oci/digest.ts';
import { repositoryKey, type Repository } from '../../oci/reference.ts';
import type { ListedBlob } from '../blob-audit.ts';
import type { Bookmark, Bookmarks } from '../bookmarks.ts';
import type { ListedBlobIndex } from '../blob/disk-audit.ts';
import type { ManifestAudit } from '../manifest-audit.ts';
import type {
  Catalogue,
  Link,
  ManifestStore,
  RepositoryRecord,
  StoredManifest,
  TagRecord,
} from '../manifest-store.ts';
import { decodeManifest, encodeManifest } from './codec.ts';

/** How many digests are remembered that a tag has named. */
const MAX_TAG_HISTORY = 20;
/** After every string that a repository, tag or digest can be. */
const LAST = '\uffff';

type PairKey = [repository: string, name: string];

interface TagEntry {
  readonly record: TagRecord;
  /** What the tag has named, oldest first, with when it was first and last confirmed; ms since the epoch. */
  readonly history: readonly { readonly digest: Digest; readonly firstAt: number; readonly lastAt: number }[];
}

interface Totals {
  readonly count: number;
  readonly bytes: number;
}

/** The index cannot be opened: it is damaged, or something else is in its place. */
export class IndexError extends Error {
  override readonly name = 'IndexError';
  readonly code = 'index-unusable';
}

/** The embedded store: everything that is known besides the blobs' bytes, in one LMDB environment. */
export interface Index extends ManifestStore, Catalogue, ListedBlobIndex, ManifestAudit, Bookmarks {}

/** Opens or makes the index in the directory `path`. Reading processes beside its owner open it `readOnly`. */
export function openIndex(path: string, options: { readonly readOnly?: boolean } = {}): Index {
  try {
    return new LmdbIndex(open({ path, maxDbs: 16, readOnly: options.readOnly ?? false }));
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new IndexError(`the index at ${path} cannot be opened: ${reason}`, { cause });
  }
}

class LmdbIndex implements Index {
  readonly #root: RootDatabase;
  readonly #manifests: Database<Buffer, string>;
  readonly #tags: Database<TagEntry, PairKey>;
  readonly #links: Database<Link, PairKey>;
  readonly #repositories: Database<RepositoryRecord, string>;
  readonly #catalogue: Database<true, string>;
  readonly #blobs: Database<{ readonly size: number }, string>;
  readonly #totals: Database<Totals, string>;
  readonly #bookmarks: Database<Bookmark, string>;

  constructor(root: RootDatabase) {
    this.#root = root;
    this.#manifests = root.openDB({ name: 'manifests', encoding: 'binary' });
    this.#tags = root.openDB({ name: 'tags' });
    this.#links = root.openDB({ name: 'links' });
    this.#repositories = root.openDB({ name: 'repositories' });
    this.#catalogue = root.openDB({ name: 'catalogue' });
    this.#blobs = root.openDB({ name: 'blobs' });
    this.#totals = root.openDB({ name: 'totals' });
    this.#bookmarks = root.openDB({ name: 'bookmarks' });
  }

  async getManifest(digest: Digest): Promise<StoredManifest | undefined> {
    const value = this.#manifests.getBinary(digest);
    return value === undefined ? undefined : decodeManifest(digest, value);
  }

  async putManifest(manifest: StoredManifest): Promise<void> {
    const value = encodeManifest(manifest);
    await this.#root.transaction(() => {
      const known = this.#manifests.getBinary(manifest.digest);
      this.#manifests.putSync(manifest.digest, value);
      this.#count('manifests', known?.length, value.length);
    });
  }

  async deleteManifest(digest: Digest): Promise<void> {
    await this.#root.transaction(() => {
      const known = this.#manifests.getBinary(digest);
      if (known === undefined) return;
      this.#manifests.removeSync(digest);
      this.#count('manifests', known.length, undefined);
    });
  }

  listManifests(options: { readonly after?: Digest | undefined; readonly limit: number }) {
    const { after, limit } = options;
    const from = after === undefined ? {} : { start: after, exclusiveStart: true };
    return [...this.#manifests.getKeys({ ...from, limit })].map((key) => {
      const digest = key as Digest;
      const value = this.#manifests.getBinary(digest);
      return { digest, manifest: value === undefined ? undefined : decodeManifest(digest, value) };
    });
  }

  async getTag(repository: Repository, tag: string): Promise<TagRecord | undefined> {
    return this.#tags.get([repositoryKey(repository), tag])?.record;
  }

  async putTag(repository: Repository, tag: string, record: TagRecord): Promise<void> {
    const key: PairKey = [repositoryKey(repository), tag];
    await this.#root.transaction(() => {
      const known = this.#tags.get(key);
      if (known !== undefined && known.record.checkedAt > record.checkedAt) return;
      this.#tags.putSync(key, { record, history: extended(known?.history ?? [], record) });
      this.#catalogue.putSync(key[0], true);
    });
  }

  async deleteTag(repository: Repository, tag: string): Promise<void> {
    await this.#tags.remove([repositoryKey(repository), tag]);
  }

  async getLink(repository: Repository, digest: Digest): Promise<Link | undefined> {
    return this.#links.get([repositoryKey(repository), digest]);
  }

  async putLinks(repository: Repository, links: ReadonlyMap<Digest, Link>): Promise<void> {
    const name = repositoryKey(repository);
    await this.#root.transaction(() => {
      for (const [digest, link] of links) {
        const isWeaker = link.by === 'upstream' && this.#links.get([name, digest])?.by === 'manifest';
        if (!isWeaker) this.#links.putSync([name, digest], link);
      }
      this.#catalogue.putSync(name, true);
    });
  }

  async getRepository(repository: Repository): Promise<RepositoryRecord | undefined> {
    return this.#repositories.get(repositoryKey(repository));
  }

  async putRepository(repository: Repository, record: RepositoryRecord): Promise<void> {
    await this.#repositories.put(repositoryKey(repository), record);
  }

  async listRepositories(options: { after?: string; limit: number }): Promise<string[]> {
    const { after, limit } = options;
    const from = after === undefined ? {} : { start: after, exclusiveStart: true };
    return [...this.#catalogue.getKeys({ ...from, limit })];
  }

  async listTags(repository: Repository): Promise<string[]> {
    const name = repositoryKey(repository);
    return [...this.#tags.getKeys({ start: [name, ''], end: [name, LAST] })].map(([, tag]) => tag);
  }

  getBlob(digest: Digest): { readonly size: number } | undefined {
    return this.#blobs.get(digest);
  }

  async putBlob(digest: Digest, entry: { readonly size: number }): Promise<void> {
    await this.#root.transaction(() => {
      const known = this.#blobs.get(digest);
      this.#blobs.putSync(digest, { size: entry.size });
      this.#count('blobs', known?.size, entry.size);
    });
  }

  async deleteBlob(digest: Digest): Promise<void> {
    await this.#root.transaction(() => {
      const known = this.#blobs.get(digest);
      if (known === undefined) return;
      this.#blobs.removeSync(digest);
      this.#count('blobs', known.size, undefined);
    });
  }

  listBlobs(prefix: string): ListedBlob[] {
    const range = this.#blobs.getRange({ start: prefix, end: `${prefix}${LAST}` });
    return [...range].map(({ key, value }) => ({ digest: key as Digest, size: value.size }));
  }

  getBookmark(name: string): Bookmark | undefined {
    return this.#bookmarks.get(name);
  }

  async putBookmark(name: string, bookmark: Bookmark): Promise<void> {
    await this.#bookmarks.put(name, bookmark);
  }

  blobTotals(): { readonly blobs: number; readonly bytes: number } {
    const { count, bytes } = this.#totalsOf('blobs');
    return { blobs: count, bytes };
  }

  manifestTotals(): { readonly manifests: number; readonly bytes: number } {
    const { count, bytes } = this.#totalsOf('manifests');
    return { manifests: count, bytes };
  }

  async close(): Promise<void> {
    await this.#root.close();
  }

  /** Keeps the totals in step within a transaction; a size is undefined where there is no entry. */
  #count(name: 'blobs' | 'manifests', oldBytes: number | undefined, newBytes: number | undefined): void {
    const { count, bytes } = this.#totalsOf(name);
    this.#totals.putSync(name, {
      count: count - (oldBytes === undefined ? 0 : 1) + (newBytes === undefined ? 0 : 1),
      bytes: bytes - (oldBytes ?? 0) + (newBytes ?? 0),
    });
  }

  #totalsOf(name: 'blobs' | 'manifests'): Totals {
    return this.#totals.get(name) ?? { count: 0, bytes: 0 };
  }
}

function extended(history: TagEntry['history'], record: TagRecord): TagEntry['history'] {
  const { digest } = record.descriptor;
  const last = history.at(-1);
  const at = record.confirmedAt;
  if (last?.digest === digest) return [...history.slice(0, -1), { ...last, lastAt: at }];
  return [...history, { digest, firstAt: at, lastAt: at }].slice(-MAX_TAG_HISTORY);
}
