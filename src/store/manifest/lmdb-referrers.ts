import type { Digest } from '../../oci/digest.ts';
import { repositoryKey, type Repository } from '../../oci/reference.ts';
import { IndexWriteError } from '../index/environment.ts';
import type { IndexTables } from '../index/tables.ts';
import type { ReferrersRecord, ReferrersStore } from '../referrers-store.ts';

export interface ReferrersStoreOptions {
  readonly tables: IndexTables;
  readonly onError: (error: unknown) => void;
  /** Whether the cache may grow by about so many bytes of the index; a list may have 4 MiB. */
  readonly hasRoom: (bytes: number) => boolean;
}

/** Lists of referrers in the index: for manifests that are in it, and for as long as they are. */
export function createReferrersStore(options: ReferrersStoreOptions): ReferrersStore {
  return new LmdbReferrers(options);
}

class LmdbReferrers implements ReferrersStore {
  readonly #tables: IndexTables;
  readonly #onError: (error: unknown) => void;
  readonly #hasRoom: (bytes: number) => boolean;

  constructor({ tables, onError, hasRoom }: ReferrersStoreOptions) {
    this.#tables = tables;
    this.#onError = onError;
    this.#hasRoom = hasRoom;
  }

  getReferrers(repository: Repository, digest: Digest): ReferrersRecord | undefined {
    return this.#tables.referrers.get(digest, repositoryKey(repository));
  }

  async putReferrers(repository: Repository, digest: Digest, record: ReferrersRecord): Promise<void> {
    const { manifests, referrers } = this.#tables;
    if (!manifests.has(digest) || !this.#hasRoom(record.bytes.length)) return;
    const key = repositoryKey(repository);
    await this.#write(() => referrers.put(digest, key, record), { bytes: record.bytes.length });
  }

  async deleteReferrers(repository: Repository, digest: Digest): Promise<void> {
    const { referrers } = this.#tables;
    const key = repositoryKey(repository);
    if (referrers.get(digest, key) === undefined) return;
    await this.#write(() => referrers.remove(digest, key), { frees: true });
  }

  /** A disk that refuses is no reason to refuse a client what upstream has just told. */
  async #write(change: () => void, options: { readonly bytes?: number; readonly frees?: boolean }) {
    try {
      await this.#tables.environment.write(change, options);
    } catch (error) {
      if (!(error instanceof IndexWriteError)) throw error;
      this.#onError(error);
    }
  }
}
