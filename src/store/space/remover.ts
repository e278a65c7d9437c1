import { rm } from 'node:fs/promises';
import { deferred } from '../../lib/promises.ts';
import type { Digest } from '../../oci/digest.ts';
import type { BlobLeases } from '../blob/leases.ts';
import { nothingRemoved, type Removed } from '../index/removal.ts';
import type { IndexTables } from '../index/tables.ts';
import { blobPath } from '../part/layout.ts';

/** Why something was removed: to make room, or because somebody said so. */
export type RemovalReason = 'mark' | 'room' | 'request';

export interface RemoverOptions {
  readonly dataDir: string;
  readonly tables: IndexTables;
  readonly leases: BlobLeases;
  /** Told once the index is rid of it, before the files are. */
  readonly onRemoved: (removed: Removed, reason: RemovalReason) => void;
}

/**
 * Removes from the index and then from the disk. In this order an image is there or gone for whoever asks, never
 * half; if the process is killed in between, files are left that no index knows, and the sweep finds those.
 */
export class Remover {
  readonly #options: RemoverOptions;
  #pendingBytes = 0;

  constructor(options: RemoverOptions) {
    this.#options = options;
  }

  /** Bytes of files that are still there although the index has forgotten them. */
  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /** Runs `choose` within one transaction and deletes the files of what it removed. Throws IndexWriteError. */
  async remove(reason: RemovalReason, choose: (removed: Removed) => void): Promise<Removed> {
    const { tables, leases, onRemoved } = this.#options;
    const gone = deferred<void>();
    const removed = nothingRemoved();
    let bytes = 0;
    try {
      const change = (): void => {
        choose(removed);
        for (const [digest, size] of removed.blobs) {
          bytes += size;
          leases.announceRemoval(digest, gone.promise);
        }
        this.#pendingBytes += bytes;
      };
      await tables.environment.write(change, { frees: true });
      onRemoved(removed, reason);
      await this.#unlink(removed.blobs.keys());
      return removed;
    } finally {
      this.#pendingBytes -= bytes;
      gone.resolve();
    }
  }

  /**
   * Deletes files while the index still knows them: for when the disk is so full that the index cannot be changed.
   * An entry without its file is a miss, and is as cold as before.
   */
  async removeFilesFirst(digests: readonly Digest[]): Promise<void> {
    const gone = deferred<void>();
    for (const digest of digests) this.#options.leases.announceRemoval(digest, gone.promise);
    await this.#unlink(digests).finally(() => gone.resolve());
  }

  /** One at a time: the other threads of the pool are for those who read. */
  async #unlink(digests: Iterable<Digest>): Promise<void> {
    for (const digest of digests) {
      // A file that stays is one that the index does not know: the sweep tries again.
      await rm(blobPath(this.#options.dataDir, digest), { force: true }).catch(() => undefined);
    }
  }
}
