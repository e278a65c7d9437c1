import type { Digest } from '../../oci/digest.ts';
import type { IndexEnvironment } from './environment.ts';
import { openTable, under, type Table, type TotalsTable } from './table.ts';

type NamedBy = [named: Digest, namer: Digest];

/** Which cached manifests name a digest: a manifest names its config and layers, an index its entries. */
export class ReferenceTable {
  readonly #namers: Table<true, NamedBy>;

  constructor(environment: IndexEnvironment) {
    this.#namers = openTable(environment, 'namers');
  }

  /** Within a transaction. */
  add(namer: Digest, named: Digest): void {
    this.#namers.put([named, namer], true);
  }

  /** Within a transaction. */
  remove(namer: Digest, named: Iterable<Digest>): void {
    for (const digest of named) this.#namers.remove([digest, namer]);
  }

  isNamedBy(named: Digest, namer: Digest): boolean {
    return this.#namers.has([named, namer]);
  }

  namersOf(named: Digest, limit?: number): Digest[] {
    return this.#namers.keys(under(named), limit).map(([, namer]) => namer);
  }

  isNamed(digest: Digest): boolean {
    return this.namersOf(digest, 1).length > 0;
  }

  /** Whether no other manifest than `namer` names the digest. */
  isOwn(digest: Digest, namer: Digest): boolean {
    return this.namersOf(digest, 2).every((each) => each === namer);
  }
}

/** Things with an age of their own: manifests, and blobs that no cached manifest names. */
export type Unit = 'manifest' | 'blob';

/** A later pull is written only after this time: eviction orders by days and does not need seconds. */
export const COARSE_MS = 60_000;

/** A unit's place in the order from coldest to freshest; `usedAt` in ms since the epoch. */
export type Place = [usedAt: number, unit: Unit, digest: Digest];

/** The time of the last pull of each unit, and the units in that order. The order is read from disk step by step. */
export class UsageTable {
  readonly #usedAt: Table<number, [Unit, Digest]>;
  readonly #order: Table<true, Place>;

  constructor(environment: IndexEnvironment) {
    this.#usedAt = openTable(environment, 'usage');
    this.#order = openTable(environment, 'usage-order');
  }

  /** Undefined: the unit has no age of its own. */
  usedAt(unit: Unit, digest: Digest): number | undefined {
    return this.#usedAt.get([unit, digest]);
  }

  /** Within a transaction. */
  set(unit: Unit, digest: Digest, usedAt: number): void {
    this.#replace(unit, digest, this.usedAt(unit, digest), usedAt);
  }

  /** Within a transaction: notes a pull, unless that is about a minute from the last. False: the unit has no age. */
  renew(unit: Unit, digest: Digest, usedAt: number): boolean {
    const known = this.usedAt(unit, digest);
    if (known === undefined) return false;
    if (Math.abs(usedAt - known) >= COARSE_MS) this.#replace(unit, digest, known, usedAt);
    return true;
  }

  #replace(unit: Unit, digest: Digest, known: number | undefined, usedAt: number): void {
    if (known === usedAt) return;
    if (known !== undefined) this.#order.remove([known, unit, digest]);
    this.#usedAt.put([unit, digest], usedAt);
    this.#order.put([usedAt, unit, digest], true);
  }

  /** Within a transaction. */
  remove(unit: Unit, digest: Digest): void {
    const known = this.usedAt(unit, digest);
    if (known === undefined) return;
    this.#usedAt.remove([unit, digest]);
    this.#order.remove([known, unit, digest]);
  }

  /** The next `limit` places after `after`, coldest first. */
  coldest(limit: number, after?: Place): Place[] {
    return this.#order.page(limit, after);
  }
}

/** The blobs on disk. A blob that no cached manifest names has an age of its own. */
export class BlobTable {
  readonly #blobs: Table<{ readonly size: number }, Digest>;
  readonly #totals: TotalsTable;
  readonly #references: ReferenceTable;
  readonly #usage: UsageTable;

  constructor(
    environment: IndexEnvironment,
    tables: {
      readonly totals: TotalsTable;
      readonly references: ReferenceTable;
      readonly usage: UsageTable;
    },
  ) {
    this.#blobs = openTable(environment, 'blobs');
    this.#totals = tables.totals;
    this.#references = tables.references;
    this.#usage = tables.usage;
  }

  size(digest: Digest): number | undefined {
    return this.#blobs.get(digest)?.size;
  }

  /** Within a transaction. */
  put(digest: Digest, size: number, usedAt: number): void {
    this.#totals.change('blobs', this.size(digest), size);
    this.#blobs.put(digest, { size });
    this.age(digest, usedAt);
  }

  /** Within a transaction. */
  remove(digest: Digest): void {
    const size = this.size(digest);
    this.#usage.remove('blob', digest);
    if (size === undefined) return;
    this.#blobs.remove(digest);
    this.#totals.change('blobs', size, undefined);
  }

  /** Within a transaction: sets the age of a cached blob, or removes it if a manifest names the blob. */
  age(digest: Digest, usedAt: number): void {
    if (this.size(digest) === undefined) return;
    if (this.#references.isNamed(digest)) this.#usage.remove('blob', digest);
    else this.#usage.set('blob', digest, usedAt);
  }

  /** The blobs whose digests begin with `prefix`, in order. */
  startingWith(prefix: string): { readonly digest: Digest; readonly size: number }[] {
    const range = this.#blobs.entries({ start: prefix as Digest, end: `${prefix}\uffff` as Digest });
    return [...range].map(({ key, value }) => ({ digest: key, size: value.size }));
  }

  /** Up to `limit` digests after `after`, in order. */
  page(limit: number, after?: Digest): Digest[] {
    return this.#blobs.page(limit, after);
  }
}
