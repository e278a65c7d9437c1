import type { Digest } from '../../oci/digest.ts';
import type { IndexEnvironment } from './environment.ts';
import { openTable, under, type Table } from './table.ts';

/** A pinned tag (its current digest is protected) or a pinned digest. `repository` is a repository key. */
export type Pin =
  | { readonly kind: 'tag'; readonly repository: string; readonly tag: string }
  | { readonly kind: 'digest'; readonly repository: string; readonly digest: Digest };

interface PinEntry {
  readonly pin: Pin;
  /** ms since the epoch. */
  readonly pinnedAt: number;
}

/** Key of a pinned tag: `[repository, tag]`; of a digest: `[digest, repository]`. No repository looks like a digest. */
export class PinTable {
  readonly #pins: Table<PinEntry, [string, string]>;

  constructor(environment: IndexEnvironment) {
    this.#pins = openTable(environment, 'pins');
  }

  has(pin: Pin): boolean {
    return this.#pins.has(keyOf(pin));
  }

  /** Within a transaction. */
  put(pin: Pin, pinnedAt: number): void {
    this.#pins.put(keyOf(pin), { pin, pinnedAt });
  }

  /** Within a transaction; false if there was no such pin. */
  remove(pin: Pin): boolean {
    return this.#pins.remove(keyOf(pin));
  }

  hasDigest(digest: Digest): boolean {
    return this.#pins.keys({ ...under(digest), limit: 1 }).length > 0;
  }

  all(): Pin[] {
    return [...this.#pins.entries()].map(({ value }) => value.pin);
  }

  get count(): number {
    return this.#pins.count;
  }
}

function keyOf(pin: Pin): [string, string] {
  return pin.kind === 'tag' ? [pin.repository, pin.tag] : [pin.digest, pin.repository];
}
