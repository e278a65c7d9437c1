import { rm } from 'node:fs/promises';
import { deferred } from '../../lib/promises.ts';
import type { Digest } from '../../oci/digest.ts';
import type { BlobLeases } from '../blob/leases.ts';
import { nothingRemoved, type Removed } from '../index/removal.ts';
import type { IndexTables } from '../index/tables.ts';
import { blobPath } from '../part/layout.ts';

/** Why an image was removed: for room (see EvictionReason), or by a command (`request`). */
export type RemovalReason = 'mark' | 'room' | 'request';

export interface RemoverOptions {
  readonly dataDir: string;
  readonly tables: IndexTables;
  readonly leases: BlobLeases;
  /** Called after the removal from the index, before the files are removed. */
  readonly onRemoved: (removed: Removed, reason: RemovalReason) => void;
}

/**
 * Removes entries from the index, and then files from the disk. In this order no client sees half an image. If the
 * process is killed in between, files without an entry stay, and the sweep finds them.
 */
export class Remover {
  readonly #options: RemoverOptions;
  #pendingBytes = 0;

  constructor(options: RemoverOptions) {
    this.#options = options;
  }

  /** Bytes of files that still exist although their entries are removed. */
  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /** Runs `choose` within one transaction, and removes the files of its `removed.blobs`. Throws IndexWriteError. */
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
   * Removes files before their entries, for a disk so full that the index cannot be changed. An entry without a file is
   * a miss and keeps its age.
   */
  async removeFilesFirst(digests: readonly Digest[]): Promise<void> {
    const gone = deferred<void>();
    for (const digest of digests) this.#options.leases.announceRemoval(digest, gone.promise);
    await this.#unlink(digests).finally(() => gone.resolve());
  }

  /** One at a time: the other threads of the pool are for readers. */
  async #unlink(digests: Iterable<Digest>): Promise<void> {
    for (const digest of digests) {
      // A file that stays has no entry, so the sweep tries again.
      await rm(blobPath(this.#options.dataDir, digest), { force: true }).catch(() => undefined);
    }
  }
}
