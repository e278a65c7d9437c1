import { BlobTable } from './blobs.ts';
import { BookmarkTable } from './bookmarks.ts';
import { IndexEnvironment, type EnvironmentOptions } from './environment.ts';
import { HistoryTable } from './history.ts';
import { LinkTable } from './links.ts';
import { ManifestTable } from './manifests.ts';
import { PinTable } from './pins.ts';
import { ReferenceTable } from './references.ts';
import { ReferrersTable } from './referrers.ts';
import { RepositoryTable } from './repositories.ts';
import { openTable, type Table } from './table.ts';
import { TagTable } from './tags.ts';
import { TotalsTable } from './totals.ts';
import { UsageTable } from './usage.ts';

/**
 * All that the index holds, by noun. Their methods are synchronous: reads may be called at any time, changes belong
 * into `environment.write`.
 */
export class IndexTables {
  readonly environment: IndexEnvironment;
  readonly totals: TotalsTable;
  readonly references: ReferenceTable;
  readonly usage: UsageTable;
  readonly blobs: BlobTable;
  readonly manifests: ManifestTable;
  readonly links: LinkTable;
  readonly tags: TagTable;
  readonly pins: PinTable;
  readonly repositories: RepositoryTable;
  readonly bookmarks: BookmarkTable;
  readonly referrers: ReferrersTable;
  readonly history: HistoryTable;
  /** What concerns the index itself. */
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
    this.tags = new TagTable(this.environment);
    this.pins = new PinTable(this.environment);
    this.repositories = new RepositoryTable(this.environment, this);
    this.bookmarks = new BookmarkTable(this.environment);
    this.referrers = new ReferrersTable(this.environment);
    this.history = new HistoryTable(this.environment);
    this.meta = openTable(this.environment, 'meta');
  }
}
