import type { Digest } from '../../oci/digest.ts';
import type { IndexEnvironment } from './environment.ts';
import type { ReferenceTable } from './references.ts';
import { openTable, type Table } from './table.ts';
import type { TotalsTable } from './totals.ts';
import type { UsageTable } from './usage.ts';

/** The blobs that are on the disk. One that no stored manifest names has an age of its own. */
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

  /** Within a transaction: gives a stored blob this age if no manifest names it, and else none of its own. */
  age(digest: Digest, usedAt: number): void {
    if (this.size(digest) === undefined) return;
    if (this.#references.isNamed(digest)) this.#usage.remove('blob', digest);
    else this.#usage.set('blob', digest, usedAt);
  }

  /** Those whose digests begin with `prefix`, in order. */
  startingWith(prefix: string): { readonly digest: Digest; readonly size: number }[] {
    const range = this.#blobs.entries({ start: prefix as Digest, end: `${prefix}\uffff` as Digest });
    return [...range].map(({ key, value }) => ({ digest: key, size: value.size }));
  }

  /** Up to `limit` digests after `after`, in order: for walks over all of them. */
  page(limit: number, after?: Digest): Digest[] {
    return this.#blobs.page(limit, after);
  }
}
