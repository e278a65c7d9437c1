import type { Digest } from '../../oci/digest.ts';
import type { IndexEnvironment } from './environment.ts';
import { openTable, type Table } from './table.ts';

/** What has an age of its own: manifests, and blobs that no stored manifest names. */
export type Unit = 'manifest' | 'blob';

/** A unit's place from the coldest to the freshest; `usedAt` in ms since the epoch. */
export type Place = [usedAt: number, unit: Unit, digest: Digest];

/** When what was pulled last, and all of it in that order: scanned from disk, never held in memory. */
export class UsageTable {
  readonly #usedAt: Table<number, [Unit, Digest]>;
  readonly #order: Table<true, Place>;

  constructor(environment: IndexEnvironment) {
    this.#usedAt = openTable(environment, 'usage');
    this.#order = openTable(environment, 'usage-order');
  }

  /** Undefined: it has no age of its own. */
  usedAt(unit: Unit, digest: Digest): number | undefined {
    return this.#usedAt.get([unit, digest]);
  }

  /** Within a transaction. */
  set(unit: Unit, digest: Digest, usedAt: number): void {
    const known = this.usedAt(unit, digest);
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

  /** The next `limit` places after `after`, the coldest first. */
  coldest(limit: number, after?: Place): Place[] {
    return this.#order.page(limit, after);
  }
}
