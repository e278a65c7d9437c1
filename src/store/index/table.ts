import type { Database, Key, RangeOptions } from 'lmdb';
import { IndexError, type IndexEnvironment } from './environment.ts';

/** After every string that a repository, tag or digest can be. */
const LAST = '\uffff';

/** What lmdb tells of a table (LMDB, `mdb_stat`), which its types leave out. */
interface TableStatistics {
  readonly entryCount: number;
  readonly pageSize: number;
  readonly treeLeafPageCount: number;
  readonly treeBranchPageCount: number;
  readonly overflowPages: number;
}

/** One table of the environment. What of it is damaged reads as if it were not there. */
export class Table<V, K extends Key> {
  readonly #environment: IndexEnvironment;
  readonly #table: Database<V, K>;

  constructor(environment: IndexEnvironment, table: Database<V, K>) {
    this.#environment = environment;
    this.#table = table;
  }

  get(key: K): V | undefined {
    return this.#environment.read(() => this.#table.get(key), undefined);
  }

  /** As it is stored. */
  getBinary(key: K): Buffer | undefined {
    return this.#environment.read(() => this.#table.getBinary(key), undefined);
  }

  has(key: K): boolean {
    return this.#environment.read(() => this.#table.doesExist(key), false);
  }

  get count(): number {
    return this.#statistics?.entryCount ?? 0;
  }

  /** What it takes of the file of the index. */
  get bytes(): number {
    const statistics = this.#statistics;
    if (statistics === undefined) return 0;
    const { pageSize, treeLeafPageCount, treeBranchPageCount, overflowPages } = statistics;
    return (treeLeafPageCount + treeBranchPageCount + overflowPages) * pageSize;
  }

  /** In order, `limit` at most. */
  keys(range: RangeOptions, limit?: number): K[] {
    const options = limit === undefined ? range : { ...range, limit };
    return this.#environment.read(() => [...this.#table.getKeys(options)], []);
  }

  /** Up to `limit` keys after `after`, in order: for walks over all of them. */
  page(limit: number, after?: K): K[] {
    return this.keys(after === undefined ? {} : { start: after, exclusiveStart: true }, limit);
  }

  *entries(range: RangeOptions = {}): Generator<{ readonly key: K; readonly value: V }, void> {
    const entries = this.#environment.read(() => this.#table.getRange(range)[Symbol.iterator](), undefined);
    const next = () => this.#environment.read(() => entries?.next(), undefined);
    for (let entry = next(); entry !== undefined && entry.done !== true; entry = next()) yield entry.value;
  }

  /** Within a transaction. */
  put(key: K, value: V): void {
    this.#table.putSync(key, value);
  }

  /** Within a transaction; false if there was none. */
  remove(key: K): boolean {
    return this.#table.removeSync(key);
  }

  get #statistics(): TableStatistics | undefined {
    return this.#environment.read(() => this.#table.getStats() as TableStatistics, undefined);
  }
}

/** Opens one table of the environment, making it if it is not there. */
export function openTable<V, K extends Key>(
  environment: IndexEnvironment,
  name: string,
  encoding: 'msgpack' | 'binary' = 'msgpack',
): Table<V, K> {
  const table: Database<V, K> | undefined = environment.root.openDB<V, K>({ name, encoding });
  // What lmdb gives for a table that a reader may not make.
  if (table === undefined) {
    throw new IndexError(`the index lacks the table ${name}: it was made by an earlier version`);
  }
  const opened = new Table(environment, table);
  environment.tables.set(name, opened);
  return opened;
}

/** The range of the keys that begin with `first`. */
export function under(first: string): { start: [string, string]; end: [string, string] } {
  return { start: [first, ''], end: [first, LAST] };
}

export interface Totals {
  readonly count: number;
  readonly bytes: number;
}

/** How much there is of what, kept in step by whoever changes it. */
export class TotalsTable {
  readonly #totals: Table<Totals, string>;

  constructor(environment: IndexEnvironment) {
    this.#totals = openTable(environment, 'totals');
  }

  of(name: 'blobs' | 'manifests'): Totals {
    return this.#totals.get(name) ?? { count: 0, bytes: 0 };
  }

  /** Within a transaction; a size is undefined where there is no entry. */
  change(name: 'blobs' | 'manifests', oldBytes: number | undefined, newBytes: number | undefined): void {
    const { count, bytes } = this.of(name);
    this.#totals.put(name, {
      count: count - (oldBytes === undefined ? 0 : 1) + (newBytes === undefined ? 0 : 1),
      bytes: bytes - (oldBytes ?? 0) + (newBytes ?? 0),
    });
  }
}
