import type { Digest } from '../../oci/digest.ts';

/** Which blobs are open or being filled, and which files are being removed. */
export class BlobLeases {
  readonly #counts = new Map<Digest, number>();
  readonly #removals = new Map<Digest, Promise<void>>();
  #onRemoval: (digest: Digest) => void = () => undefined;

  /** `listener` is called before a file is removed: a removed file that stays open still takes room on the disk. */
  onRemoval(listener: (digest: Digest) => void): void {
    this.#onRemoval = listener;
  }

  /** The blob is in use until the returned function is called. Further calls of that function do nothing. */
  hold(digest: Digest): () => void {
    this.#counts.set(digest, (this.#counts.get(digest) ?? 0) + 1);
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      const count = (this.#counts.get(digest) ?? 1) - 1;
      if (count > 0) this.#counts.set(digest, count);
      else this.#counts.delete(digest);
    };
  }

  isHeld(digest: Digest): boolean {
    return this.#counts.has(digest);
  }

  /** Readers and writers of the file wait for `removed`, so that they do not mix up the old file and a new one. */
  announceRemoval(digest: Digest, removed: Promise<void>): void {
    const settled = removed.finally(() => {
      if (this.#removals.get(digest) === settled) this.#removals.delete(digest);
    });
    this.#removals.set(digest, settled);
    this.#onRemoval(digest);
  }

  /** Resolves when no file of this blob is being removed. */
  async removed(digest: Digest): Promise<void> {
    await this.#removals.get(digest);
  }

  isBeingRemoved(digest: Digest): boolean {
    return this.#removals.has(digest);
  }
}
