import type { Digest } from '../../oci/digest.ts';
import type { Bookmark } from '../blobs.ts';
import { BlobTable, ReferenceTable, UsageTable } from './blobs.ts';
import { IndexEnvironment, type EnvironmentOptions, IndexWriteError } from './environment.ts';
import { HistoryTable } from './history.ts';
import { ManifestTable, ReferrersTable } from './manifests.ts';
import { PinTable } from './pins.ts';
import { LinkTable, OfferTable, RepositoryTable, TagTable } from './repositories.ts';
import { openTable, type Table, TotalsTable } from './table.ts';

/** Progress of long walks, by name. */
export class BookmarkTable {
  readonly #bookmarks: Table<Bookmark, string>;

  constructor(environment: IndexEnvironment) {
    this.#bookmarks = openTable(environment, 'bookmarks');
  }

  get(name: string): Bookmark | undefined {
    return this.#bookmarks.get(name);
  }

  /** Within a transaction. */
  put(name: string, bookmark: Bookmark): void {
    this.#bookmarks.put(name, bookmark);
  }
}

/**
 * The tables of the index. Their methods are synchronous. Reads may be called at any time; changes must be called
 * within `environment.write`.
 */
export class IndexTables {
  readonly environment: IndexEnvironment;
  readonly totals: TotalsTable;
  readonly references: ReferenceTable;
  readonly usage: UsageTable;
  readonly blobs: BlobTable;
  readonly manifests: ManifestTable;
  readonly links: LinkTable;
  readonly offers: OfferTable;
  readonly tags: TagTable;
  readonly pins: PinTable;
  readonly repositories: RepositoryTable;
  readonly bookmarks: BookmarkTable;
  readonly referrers: ReferrersTable;
  readonly history: HistoryTable;
  /** Numbers on the index itself, such as its format. */
  readonly meta: Table<number, string>;

  /** Throws IndexError. */
  constructor(path: string, options: EnvironmentOptions) {
    this.environment = new IndexEnvironment(path, options);
    this.totals = new TotalsTable(this.environment);
    this.references = new ReferenceTable(this.environment);
    this.usage = new UsageTable(this.environment);
    this.blobs = new BlobTable(this.environment, this);
    this.manifests = new ManifestTable(this.environment, this);
    this.links = new LinkTable(this.environment);
    this.offers = new OfferTable(this.environment);
    this.tags = new TagTable(this.environment);
    this.pins = new PinTable(this.environment);
    this.repositories = new RepositoryTable(this.environment, this);
    this.bookmarks = new BookmarkTable(this.environment);
    this.referrers = new ReferrersTable(this.environment);
    this.history = new HistoryTable(this.environment);
    this.meta = openTable(this.environment, 'meta');
  }
}

/** Format of the tables; 1 had only manifests, tags, links, repositories and blobs. */
const FORMAT = 2;
/** Entries per transaction. */
const STEP = 500;

/**
 * Upgrades an index of an earlier format: enters the digests that manifests name, the reverse entries of links and
 * tags, and ages. Can stop at any point and run again. Resolves at once if there is nothing to do.
 */
export async function upgradeIndex(tables: IndexTables, now: () => number): Promise<void> {
  const { environment, manifests, blobs, links, tags, meta } = tables;
  if (meta.get('format') === FORMAT) return;
  const at = now();
  const steps = async <K>(
    page: (limit: number, after?: K) => K[],
    enter: (key: K) => void,
  ): Promise<void> => {
    for (let keys = page(STEP); keys.length > 0; keys = page(STEP, keys.at(-1))) {
      await environment.write(() => keys.forEach(enter));
    }
  };
  await steps(
    (limit, after?: Digest) => manifests.page(limit, after),
    (digest) => manifests.index(digest, at),
  );
  await steps(
    (limit, after?: Digest) => blobs.page(limit, after),
    (digest) => blobs.age(digest, at),
  );
  await steps(
    (limit, after?: [string, Digest]) => links.page(limit, after),
    ([repository, digest]) => links.index(repository, digest),
  );
  await steps(
    (limit, after?: [string, string]) => tags.page(limit, after),
    (key) => tags.index(key),
  );
  await environment
    .write(() => meta.put('format', FORMAT), { frees: true })
    .catch((error: unknown) => {
      // On a full disk, an empty index may stay without a format: the next start has nothing to upgrade either.
      if (!(error instanceof IndexWriteError) || manifests.page(1).length > 0) throw error;
    });
}
