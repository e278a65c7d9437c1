import type { Digest } from '../../oci/digest.ts';
import type { ReferrersRecord } from '../referrers-store.ts';
import type { IndexEnvironment } from './environment.ts';
import { openTable, under, type Table } from './table.ts';

/** What refers to which manifest, by the key of the repository where it was asked for. */
export class ReferrersTable {
  readonly #referrers: Table<ReferrersRecord, [digest: Digest, repository: string]>;

  constructor(environment: IndexEnvironment) {
    this.#referrers = openTable(environment, 'referrers');
  }

  get(digest: Digest, repository: string): ReferrersRecord | undefined {
    return this.#referrers.get([digest, repository]);
  }

  /** Within a transaction. */
  put(digest: Digest, repository: string, record: ReferrersRecord): void {
    this.#referrers.put([digest, repository], record);
  }

  /** Within a transaction. */
  remove(digest: Digest, repository: string): void {
    this.#referrers.remove([digest, repository]);
  }

  /** Within a transaction: all that is known of what refers to a manifest. */
  removeAll(digest: Digest): void {
    // All keys first: a cursor does not survive the removal of what it stands on.
    const keys = this.#referrers.keys(under(digest));
    for (const key of keys) this.#referrers.remove(key);
  }
}
