import type { Database, Key, RangeOptions } from 'lmdb';
import { IndexError, type IndexEnvironment } from './environment.ts';

/** Sorts after each repository, tag and digest. */
const LAST = '\uffff';

/** Statistics of a table (LMDB, `mdb_stat`), which lmdb's types leave out. */
interface TableStatistics {
  readonly entryCount: number;
  readonly pageSize: number;
  readonly treeLeafPageCount: number;
  readonly treeBranchPageCount: number;
  readonly overflowPages: number;
}

/** One table of the environment. A damaged entry reads as a missing one. */
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

  /** The encoded value. */
  getBinary(key: K): Buffer | undefined {
    return this.#environment.read(() => this.#table.getBinary(key), undefined);
  }

  has(key: K): boolean {
    return this.#environment.read(() => this.#table.doesExist(key), false);
  }

  get count(): number {
    return this.#statistics?.entryCount ?? 0;
  }

  /** Bytes of the index's file that the table uses. */
  get bytes(): number {
    const statistics = this.#statistics;
    if (statistics === undefined) return 0;
    const { pageSize, treeLeafPageCount, treeBranchPageCount, overflowPages } = statistics;
    return (treeLeafPageCount + treeBranchPageCount + overflowPages) * pageSize;
  }

  /** Keys in order, at most `limit`. */
  keys(range: RangeOptions, limit?: number): K[] {
    const options = limit === undefined ? range : { ...range, limit };
    return this.#environment.read(() => [...this.#table.getKeys(options)], []);
  }

  /** Up to `limit` keys after `after`, in order: a walk over a table calls this again and again. */
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

  /** Within a transaction; false if there was no such entry. */
  remove(key: K): boolean {
    return this.#table.removeSync(key);
  }

  get #statistics(): TableStatistics | undefined {
    return this.#environment.read(() => this.#table.getStats() as TableStatistics, undefined);
  }
}

/** Opens a table of the environment, and makes it if it is missing. Throws IndexError. */
export function openTable<V, K extends Key>(
  environment: IndexEnvironment,
  name: string,
  encoding: 'msgpack' | 'binary' = 'msgpack',
): Table<V, K> {
  const table: Database<V, K> | undefined = environment.root.openDB<V, K>({ name, encoding });
  // lmdb returns undefined if the table is missing and the environment is open for reading.
  if (table === undefined) {
    throw new IndexError(
      `the index lacks the table ${name}: an earlier version of pierhead made it; start the server to upgrade it`,
    );
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

/** Number and bytes of blobs and manifests. Each change of those tables changes the totals in the same transaction. */
export class TotalsTable {
  readonly #totals: Table<Totals, string>;

  constructor(environment: IndexEnvironment) {
    this.#totals = openTable(environment, 'totals');
  }

  of(name: 'blobs' | 'manifests'): Totals {
    return this.#totals.get(name) ?? { count: 0, bytes: 0 };
  }

  /** Within a transaction. A size is undefined if there is no entry. */
  change(name: 'blobs' | 'manifests', oldBytes: number | undefined, newBytes: number | undefined): void {
    const { count, bytes } = this.of(name);
    this.#totals.put(name, {
      count: count - (oldBytes === undefined ? 0 : 1) + (newBytes === undefined ? 0 : 1),
      bytes: bytes - (oldBytes ?? 0) + (newBytes ?? 0),
    });
  }
}
