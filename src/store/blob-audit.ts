import type { Digest } from '../oci/digest.ts';

/**
 * What a look at a stored blob tells.
 * - `sound`: the file is what the digest names.
 * - `adopted`: it is, and the index has learnt of it only now.
 * - `corrupt`: its bytes are others. `short`: some are missing at the end. `missing`: there is no file.
 * - `unreadable`: the disk cannot read it.
 * - `gone`: it was removed since it was listed, which is nothing to complain of.
 */
export type BlobState = 'sound' | 'adopted' | 'corrupt' | 'short' | 'missing' | 'unreadable' | 'gone';

export interface ListedBlob {
  readonly digest: Digest;
  /** Bytes, by the index; by the file where the index does not know it. */
  readonly size: number;
}

export interface CheckOptions {
  readonly signal: AbortSignal;
  /** Told of every piece that was hashed; hashing waits for what it returns. */
  readonly onBytes?: (bytes: number) => Promise<void> | void;
}

/** Looks after the blobs that are stored: whether they still are what they were. Removes nothing. */
export interface BlobAudit {
  /** What the index knows or the disk holds, in ascending order of digests, from the one after `after` on. */
  list(options: { readonly after?: Digest | undefined }): AsyncIterable<ListedBlob>;
  /** Hashes one file, off the main thread. Rejects with the signal's reason, or BlobStoreError. */
  check(digest: Digest, options: CheckOptions): Promise<BlobState>;
}
