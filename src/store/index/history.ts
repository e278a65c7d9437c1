import type { Digest } from '../../oci/digest.ts';
import type { PullEntry, PullRecord } from '../history.ts';
import type { IndexEnvironment } from './environment.ts';
import { openTable, type Table } from './table.ts';

/** The start first, so that the oldest entries come first; then the fields of the pull, empty if undefined. */
type HistoryKey = [firstAt: number, ...parts: string[]];

interface HistoryValue {
  readonly lastAt: number;
  readonly pulls: number;
}

/** The history of pulls. */
export class HistoryTable {
  readonly #history: Table<HistoryValue, HistoryKey>;

  constructor(environment: IndexEnvironment) {
    this.#history = openTable(environment, 'history');
  }

  get count(): number {
    return this.#history.count;
  }

  /** Within a transaction. Replaces the entry with the same pull and the same `firstAt`. */
  put({ firstAt, lastAt, pulls, ...record }: PullEntry): void {
    this.#history.put(keyOf(firstAt, record), { lastAt, pulls });
  }

  /** Within a transaction: removes up to `limit` entries that began before `firstAt`, the oldest first. */
  removeBefore(firstAt: number, limit: number): number {
    return this.#remove(this.#history.keys({ end: [firstAt], limit }));
  }

  /** Within a transaction: removes the `limit` oldest entries. */
  removeOldest(limit: number): number {
    return this.#remove(this.#history.keys({ limit }));
  }

  /** The entries that began before `until` (ms since the epoch), in that order. */
  *until(until: number): Generator<PullEntry, void> {
    for (const { key, value } of this.#history.entries({ end: [until] })) {
      yield entryOf(key, value);
    }
  }

  #remove(keys: readonly HistoryKey[]): number {
    for (const key of keys) this.#history.remove(key);
    return keys.length;
  }
}

function keyOf(firstAt: number, { repository, tag, root, child, platform, network }: PullRecord): HistoryKey {
  return [firstAt, repository, tag ?? '', root, child ?? '', platform ?? '', network];
}

function entryOf(key: HistoryKey, { lastAt, pulls }: HistoryValue): PullEntry {
  const [firstAt, repository = '', tag = '', root = '', child = '', platform = '', network = ''] = key;
  return {
    firstAt,
    lastAt,
    pulls,
    repository,
    root: root as Digest,
    tag: tag === '' ? undefined : tag,
    child: child === '' ? undefined : (child as Digest),
    platform: platform === '' ? undefined : platform,
    network,
  };
}
