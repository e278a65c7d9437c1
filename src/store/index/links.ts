import type { Digest } from '../../oci/digest.ts';
import type { Link } from '../manifest-store.ts';
import type { IndexEnvironment } from './environment.ts';
import { openTable, under, type Table } from './table.ts';

/** Which repository, by its key, is known to hold which digest. */
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

  /** Within a transaction. What upstream said never replaces what a manifest says. */
  put(repository: string, digest: Digest, link: Link): void {
    const known = this.get(repository, digest);
    if (link.by === 'upstream' && known?.by === 'manifest') return;
    this.#links.put([repository, digest], link);
    if (known === undefined) this.#holders.put([digest, repository], true);
  }

  /** Within a transaction; the other direction of what is there already. */
  index(repository: string, digest: Digest): void {
    this.#holders.put([digest, repository], true);
  }

  /** Within a transaction. */
  remove(repository: string, digest: Digest): void {
    this.#links.remove([repository, digest]);
    this.#holders.remove([digest, repository]);
  }

  /** Keys of the repositories that hold it, `limit` at most. */
  holdersOf(digest: Digest, limit?: number): string[] {
    return this.#holders.keys(under(digest), limit).map(([, repository]) => repository);
  }

  isEmpty(repository: string): boolean {
    return this.#links.keys(under(repository), 1).length === 0;
  }

  /** Up to `limit` links after `after`, in order: for walks over all of them. */
  page(limit: number, after?: [repository: string, digest: Digest]): [repository: string, digest: Digest][] {
    return this.#links.page(limit, after);
  }
}
