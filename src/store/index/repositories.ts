import type { RepositoryRecord } from '../manifest-store.ts';
import type { IndexEnvironment } from './environment.ts';
import type { LinkTable } from './links.ts';
import { openTable, type Table } from './table.ts';
import type { TagTable } from './tags.ts';

/** Repositories by their keys: what is known of them, and which of them have anything here. */
export class RepositoryTable {
  readonly #repositories: Table<RepositoryRecord, string>;
  readonly #catalogue: Table<true, string>;
  readonly #links: LinkTable;
  readonly #tags: TagTable;

  constructor(environment: IndexEnvironment, tables: { readonly links: LinkTable; readonly tags: TagTable }) {
    this.#repositories = openTable(environment, 'repositories');
    this.#catalogue = openTable(environment, 'catalogue');
    this.#links = tables.links;
    this.#tags = tables.tags;
  }

  get(repository: string): RepositoryRecord | undefined {
    return this.#repositories.get(repository);
  }

  /** Within a transaction. */
  put(repository: string, record: RepositoryRecord): void {
    this.#repositories.put(repository, record);
  }

  /** Within a transaction. */
  remove(repository: string): void {
    this.#repositories.remove(repository);
  }

  /** Whether something of it is here. */
  isListed(repository: string): boolean {
    return this.#catalogue.has(repository);
  }

  /** Up to `limit` keys of what is known after `after`, in order: for walks over all of them. */
  page(limit: number, after?: string): string[] {
    return this.#repositories.page(limit, after);
  }

  /** Within a transaction: something of it is here. */
  list(repository: string): void {
    this.#catalogue.put(repository, true);
  }

  /** Within a transaction: takes it out of the catalogue if nothing of it is here any more. */
  unlistIfEmpty(repository: string): void {
    if (this.#tags.isEmpty(repository) && this.#links.isEmpty(repository)) {
      this.#catalogue.remove(repository);
    }
  }

  /** Keys of those that have something here, after `after`, in order. */
  listed({ after, limit }: { readonly after?: string; readonly limit: number }): string[] {
    return this.#catalogue.page(limit, after);
  }
}
