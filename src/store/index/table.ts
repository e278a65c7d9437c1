import type { Database, Key } from 'lmdb';
import { IndexError, type IndexEnvironment } from './environment.ts';

/** After every string that a repository, tag or digest can be. */
const LAST = '\uffff';

/** Opens one table of the environment, making it if it is not there. */
export function openTable<V, K extends Key>(
  environment: IndexEnvironment,
  name: string,
  encoding: 'msgpack' | 'binary' = 'msgpack',
): Database<V, K> {
  const table: Database<V, K> | undefined = environment.root.openDB<V, K>({ name, encoding });
  // What lmdb gives for a table that a reader may not make.
  if (table === undefined) {
    throw new IndexError(`the index lacks the table ${name}: it was made by an earlier version`);
  }
  return table;
}

/** The range of the keys that begin with `first`. */
export function under(first: string): { start: [string, string]; end: [string, string] } {
  return { start: [first, ''], end: [first, LAST] };
}
