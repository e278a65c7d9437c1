import type { Database } from 'lmdb';
import type { Digest } from '../../oci/digest.ts';
import type { Link } from '../manifest-store.ts';
import type { IndexEnvironment } from './environment.ts';
import { openTable, under } from './table.ts';

/** Which repository, by its key, is known to hold which digest. */
export class LinkTable {
  readonly #links: Database<Link, [repository: string, digest: Digest]>;
  readonly #holders: Database<true, [digest: Digest, repository: string]>;

  constructor(environment: IndexEnvironment) {
    this.#links = openTable(environment, 'links');
    this.#holders = openTable(environment, 'holders');
  }

  get(repository: string, digest: Digest): Link | undefined {
    return this.#links.get([repository, digest]);
  }

  /** Within a transaction. What upstream said never replaces what a manifest says. */
  put(repository: string, digest: Digest, link: Link): void {
    const known = this.get(repository, digest);
    if (link.by === 'upstream' && known?.by === 'manifest') return;
    this.#links.putSync([repository, digest], link);
    if (known === undefined) this.#holders.putSync([digest, repository], true);
  }

  /** Within a transaction; the other direction of what is there already. */
  index(repository: string, digest: Digest): void {
    this.#holders.putSync([digest, repository], true);
  }

  /** Within a transaction. */
  remove(repository: string, digest: Digest): void {
    this.#links.removeSync([repository, digest]);
    this.#holders.removeSync([digest, repository]);
  }

  /** Keys of the repositories that hold it. */
  holdersOf(digest: Digest): string[] {
    return [...this.#holders.getKeys(under(digest))].map(([, repository]) => repository);
  }

  isEmpty(repository: string): boolean {
    return [...this.#links.getKeys({ ...under(repository), limit: 1 })].length === 0;
  }

  /** Up to `limit` links after `after`, in order: for walks over all of them. */
  page(limit: number, after?: [repository: string, digest: Digest]): [repository: string, digest: Digest][] {
    const from = after === undefined ? {} : { start: after, exclusiveStart: true };
    return [...this.#links.getKeys({ ...from, limit })];
  }
}
