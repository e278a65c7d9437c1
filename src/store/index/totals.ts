import type { IndexEnvironment } from './environment.ts';
import { openTable, type Table } from './table.ts';

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
