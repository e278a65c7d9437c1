import type { Bookmark } from '../bookmarks.ts';
import type { IndexEnvironment } from './environment.ts';
import { openTable, type Table } from './table.ts';

/** How far long walks have come, by name. */
export class BookmarkTable {
  readonly #bookmarks: Table<Bookmark, string>;

  constructor(environment: IndexEnvironment) {
    this.#bookmarks = openTable(environment, 'bookmarks');
  }

  get(name: string): Bookmark | undefined {
    return this.#bookmarks.get(name);
  }

  /** Within a transaction. */
  put(name: string, bookmark: Bookmark): void {
    this.#bookmarks.put(name, bookmark);
  }
}
