import type { Digest } from '../../oci/digest.ts';
import type { IndexEnvironment } from './environment.ts';
import { openTable, under, type Table } from './table.ts';

type NamedBy = [named: Digest, namer: Digest];

/** Which stored manifests name a digest: images their config and layers, indexes their entries. */
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

  /** Whether nothing but `namer` names it. */
  isOwn(digest: Digest, namer: Digest): boolean {
    return this.namersOf(digest, 2).every((each) => each === namer);
  }
}
