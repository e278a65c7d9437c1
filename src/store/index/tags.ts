import type { Digest } from '../../oci/digest.ts';
import type { TagRecord } from '../manifest-store.ts';
import { replaces } from '../tag-order.ts';
import type { IndexEnvironment } from './environment.ts';
import { openTable, under, type Table } from './table.ts';

/** How many digests are remembered that a tag has named. */
const MAX_TAG_HISTORY = 20;
const LAST = '\uffff';

interface TagEntry {
  readonly record: TagRecord;
  /** What the tag has named, oldest first, with when it was first and last confirmed; ms since the epoch. */
  readonly history: readonly { readonly digest: Digest; readonly firstAt: number; readonly lastAt: number }[];
}

/** A tag by the key of its repository and its name. */
export type TagKey = [repository: string, tag: string];

/** Tags, and which of them name a digest now. */
export class TagTable {
  readonly #tags: Table<TagEntry, TagKey>;
  readonly #naming: Table<true, [digest: Digest, repository: string, tag: string]>;

  constructor(environment: IndexEnvironment) {
    this.#tags = openTable(environment, 'tags');
    this.#naming = openTable(environment, 'tags-naming');
  }

  get(key: TagKey): TagRecord | undefined {
    return this.#tags.get(key)?.record;
  }

  /** What it named before, the newest first. */
  before(key: TagKey): Digest[] {
    const { record, history = [] } = this.#tags.get(key) ?? {};
    const digests = history
      .map(({ digest }) => digest)
      .filter((digest) => digest !== record?.descriptor.digest);
    return [...new Set(digests.toReversed())];
  }

  /** Within a transaction. Keeps `record` unless a newer one is there. */
  put(key: TagKey, record: TagRecord): void {
    const known = this.#tags.get(key);
    if (known !== undefined && !replaces(record, known.record)) return;
    const { digest } = record.descriptor;
    const before = known?.record.descriptor.digest;
    if (before !== undefined && before !== digest) this.#naming.remove([before, ...key]);
    this.#tags.put(key, { record, history: extended(known?.history ?? [], record) });
    if (before !== digest) this.#naming.put([digest, ...key], true);
  }

  /** Within a transaction. */
  remove(key: TagKey): void {
    const digest = this.get(key)?.descriptor.digest;
    if (digest === undefined) return;
    this.#tags.remove(key);
    this.#naming.remove([digest, ...key]);
  }

  /** Within a transaction; the other direction of what is there already. */
  index(key: TagKey): void {
    const digest = this.get(key)?.descriptor.digest;
    if (digest !== undefined) this.#naming.put([digest, ...key], true);
  }

  /** Whether the tag names it now. */
  names(key: TagKey, digest: Digest): boolean {
    return this.get(key)?.descriptor.digest === digest;
  }

  /** The tags that name it now, `limit` at most. */
  naming(digest: Digest, limit?: number): TagKey[] {
    const range = { start: [digest, '', ''], end: [digest, LAST, LAST] };
    return this.#naming.keys(range, limit).map(([, repository, tag]) => [repository, tag]);
  }

  /** Names of the tags of a repository, in order. */
  of(repository: string): string[] {
    return this.#tags.keys(under(repository)).map(([, tag]) => tag);
  }

  isEmpty(repository: string): boolean {
    return this.#tags.keys(under(repository), 1).length === 0;
  }

  /** Up to `limit` tags after `after`, in order: for walks over all of them. */
  page(limit: number, after?: TagKey): TagKey[] {
    return this.#tags.page(limit, after);
  }
}

function extended(history: TagEntry['history'], record: TagRecord): TagEntry['history'] {
  const { digest } = record.descriptor;
  const last = history.at(-1);
  const at = record.confirmedAt;
  if (last?.digest === digest) return [...history.slice(0, -1), { ...last, lastAt: at }];
  return [...history, { digest, firstAt: at, lastAt: at }].slice(-MAX_TAG_HISTORY);
}
