import type { Digest } from '../../oci/digest.ts';
import { type Link, type TagRecord, replaces, type RepositoryRecord } from '../manifests.ts';
import type { IndexEnvironment } from './environment.ts';
import { openTable, under, type Table } from './table.ts';

/** Which repository (by key) holds which digest. */
export class LinkTable {
  readonly #links: Table<Link, [repository: string, digest: Digest]>;
  readonly #holders: Table<true, [digest: Digest, repository: string]>;

  constructor(environment: IndexEnvironment) {
    this.#links = openTable(environment, 'links');
    this.#holders = openTable(environment, 'holders');
  }

  get(repository: string, digest: Digest): Link | undefined {
    return this.#links.get([repository, digest]);
  }

  /** Within a transaction. A link by upstream never replaces a link by a manifest. */
  put(repository: string, digest: Digest, link: Link): void {
    const known = this.get(repository, digest);
    if (link.by === 'upstream' && known?.by === 'manifest') return;
    this.#links.put([repository, digest], link);
    if (known === undefined) this.#holders.put([digest, repository], true);
  }

  /** Within a transaction: the link no longer says `withBlobs`. False: it did not. */
  disclaimBlobs(repository: string, digest: Digest): boolean {
    const { by, size, withBlobs } = this.get(repository, digest) ?? {};
    if (by === undefined || withBlobs === undefined) return false;
    this.#links.put([repository, digest], { by, ...(size === undefined ? {} : { size }) });
    return true;
  }

  /** Within a transaction: adds the reverse entry of an existing link. */
  index(repository: string, digest: Digest): void {
    this.#holders.put([digest, repository], true);
  }

  /** Within a transaction. */
  remove(repository: string, digest: Digest): void {
    this.#links.remove([repository, digest]);
    this.#holders.remove([digest, repository]);
  }

  /** Keys of the repositories that hold the digest, at most `limit`. */
  holdersOf(digest: Digest, limit?: number): string[] {
    return this.#holders.keys(under(digest), limit).map(([, repository]) => repository);
  }

  isEmpty(repository: string): boolean {
    return this.#links.keys(under(repository), 1).length === 0;
  }

  /** Up to `limit` links after `after`, in order. */
  page(limit: number, after?: [repository: string, digest: Digest]): [repository: string, digest: Digest][] {
    return this.#links.page(limit, after);
  }
}

/** Which digest clients may request from which repository (by key), even if the repository does not hold it. */
export class OfferTable {
  readonly #offers: Table<true, [digest: Digest, repository: string]>;

  constructor(environment: IndexEnvironment) {
    this.#offers = openTable(environment, 'offers');
  }

  has(digest: Digest, repository: string): boolean {
    return this.#offers.has([digest, repository]);
  }

  /** Within a transaction. */
  put(digest: Digest, repository: string): void {
    this.#offers.put([digest, repository], true);
  }

  /** Within a transaction. */
  remove(digest: Digest, repository: string): void {
    this.#offers.remove([digest, repository]);
  }

  /** Within a transaction: removes at most `limit` offers of a digest. */
  removeSome(digest: Digest, limit: number): void {
    for (const key of this.#offers.keys(under(digest), limit)) this.#offers.remove(key);
  }

  /** Up to `limit` offers after `after`, in order. */
  page(limit: number, after?: [digest: Digest, repository: string]): [digest: Digest, repository: string][] {
    return this.#offers.page(limit, after);
  }
}

/** Digests per tag that the history keeps. */
const MAX_TAG_HISTORY = 20;

interface TagEntry {
  readonly record: TagRecord;
  /** The digests of the tag, oldest first, with the first and last confirmation; ms since the epoch. */
  readonly history: readonly { readonly digest: Digest; readonly firstAt: number; readonly lastAt: number }[];
}

/** A tag: repository key and name. */
export type TagKey = [repository: string, tag: string];

/** The tags, and the current tags of each digest. */
export class TagTable {
  readonly #tags: Table<TagEntry, TagKey>;
  readonly #naming: Table<true, [digest: Digest, repository: string, tag: string]>;

  constructor(environment: IndexEnvironment) {
    this.#tags = openTable(environment, 'tags');
    this.#naming = openTable(environment, 'tags-naming');
  }

  get(key: TagKey): TagRecord | undefined {
    return this.#tags.get(key)?.record;
  }

  /** The earlier digests of the tag, newest first. */
  before(key: TagKey): Digest[] {
    const { record, history = [] } = this.#tags.get(key) ?? {};
    const digests = history
      .map(({ digest }) => digest)
      .filter((digest) => digest !== record?.descriptor.digest);
    return [...new Set(digests.toReversed())];
  }

  /** Within a transaction. Does nothing if the table has a newer record. */
  put(key: TagKey, record: TagRecord): void {
    const known = this.#tags.get(key);
    if (known !== undefined && !replaces(record, known.record)) return;
    const { digest } = record.descriptor;
    const before = known?.record.descriptor.digest;
    if (before !== undefined && before !== digest) this.#naming.remove([before, ...key]);
    this.#tags.put(key, { record, history: extended(known?.history ?? [], record) });
    if (before !== digest) this.#naming.put([digest, ...key], true);
  }

  /** Within a transaction. */
  remove(key: TagKey): void {
    const digest = this.get(key)?.descriptor.digest;
    if (digest === undefined) return;
    this.#tags.remove(key);
    this.#naming.remove([digest, ...key]);
  }

  /** Within a transaction: adds the reverse entry of an existing tag. */
  index(key: TagKey): void {
    const digest = this.get(key)?.descriptor.digest;
    if (digest !== undefined) this.#naming.put([digest, ...key], true);
  }

  /** Whether the tag names the digest now. */
  names(key: TagKey, digest: Digest): boolean {
    return this.get(key)?.descriptor.digest === digest;
  }

  /** The current tags of the digest, at most `limit`. */
  naming(digest: Digest, limit?: number): TagKey[] {
    return this.#naming.keys(under(digest), limit).map(([, repository, tag]) => [repository, tag]);
  }

  /** Tag names of a repository, in order. */
  of(repository: string): string[] {
    return this.#tags.keys(under(repository)).map(([, tag]) => tag);
  }

  isEmpty(repository: string): boolean {
    return this.#tags.keys(under(repository), 1).length === 0;
  }

  /** Up to `limit` tags after `after`, in order. */
  page(limit: number, after?: TagKey): TagKey[] {
    return this.#tags.page(limit, after);
  }
}

function extended(history: TagEntry['history'], record: TagRecord): TagEntry['history'] {
  const { digest } = record.descriptor;
  const last = history.at(-1);
  const at = record.confirmedAt;
  if (last?.digest === digest) return [...history.slice(0, -1), { ...last, lastAt: at }];
  return [...history, { digest, firstAt: at, lastAt: at }].slice(-MAX_TAG_HISTORY);
}

/** Repositories by key: their records, and the catalog of those with a tag or a link. */
export class RepositoryTable {
  readonly #repositories: Table<RepositoryRecord, string>;
  readonly #catalog: Table<true, string>;
  readonly #links: LinkTable;
  readonly #tags: TagTable;

  constructor(environment: IndexEnvironment, tables: { readonly links: LinkTable; readonly tags: TagTable }) {
    this.#repositories = openTable(environment, 'repositories');
    this.#catalog = openTable(environment, 'catalogue');
    this.#links = tables.links;
    this.#tags = tables.tags;
  }

  get(repository: string): RepositoryRecord | undefined {
    return this.#repositories.get(repository);
  }

  /** Within a transaction. */
  put(repository: string, record: RepositoryRecord): void {
    this.#repositories.put(repository, record);
  }

  /** Within a transaction. */
  remove(repository: string): void {
    this.#repositories.remove(repository);
  }

  /** Whether the repository is in the catalog. */
  isListed(repository: string): boolean {
    return this.#catalog.has(repository);
  }

  /** Up to `limit` keys of records after `after`, in order. */
  page(limit: number, after?: string): string[] {
    return this.#repositories.page(limit, after);
  }

  /** Within a transaction: adds the repository to the catalog. */
  list(repository: string): void {
    this.#catalog.put(repository, true);
  }

  /** Within a transaction: removes the repository from the catalog if it has no tag and no link. */
  unlistIfEmpty(repository: string): void {
    if (this.#tags.isEmpty(repository) && this.#links.isEmpty(repository)) {
      this.#catalog.remove(repository);
    }
  }

  /** Keys in the catalog after `after`, in order. */
  listed({ after, limit }: { readonly after?: string | undefined; readonly limit: number }): string[] {
    return this.#catalog.page(limit, after);
  }
}
