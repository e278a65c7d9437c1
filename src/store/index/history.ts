import type { Digest } from '../../oci/digest.ts';
import type { PullEntry, PullRecord } from '../history.ts';
import type { IndexEnvironment } from './environment.ts';
import { openTable, type Table } from './table.ts';

/** By when they began, so that the oldest are the first ones; then the parts of the pull, empty where absent. */
type HistoryKey = [firstAt: number, ...parts: string[]];

interface HistoryValue {
  readonly lastAt: number;
  readonly pulls: number;
}

/** Who pulled what, and when. */
export class HistoryTable {
  readonly #history: Table<HistoryValue, HistoryKey>;

  constructor(environment: IndexEnvironment) {
    this.#history = openTable(environment, 'history');
  }

  get count(): number {
    return this.#history.count;
  }

  /** Within a transaction. What is there of the same pull since the same time is replaced. */
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

  /** Those that began before `until` (not included), in that order; ms since the epoch. */
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
    network,
    ...(tag === '' ? {} : { tag }),
    ...(child === '' ? {} : { child: child as Digest }),
    ...(platform === '' ? {} : { platform }),
  };
}
