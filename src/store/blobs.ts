import type { Extent } from '../lib/extents.ts';
import type { Digest } from '../oci/digest.ts';

/** A verified blob, opened for reading. Its file stays readable until `close`, even if it is removed meanwhile. */
export interface StoredBlob {
  readonly size: number;
  /** All of it, if it is small and in memory; not to be written to. */
  readonly content: Buffer | undefined;
  /** Reads up to `length` bytes at `position` into the start of `buffer`; resolves to how many, 0 at the end. */
  read(buffer: Buffer, length: number, position: number): Promise<number>;
  close(): Promise<void>;
}

/**
 * A blob that is being filled: bytes can be written and read anywhere; nothing is served as stored before `commit`.
 * Every method but `read`, `close` and `discard` throws `BlobStoreError` when the disk refuses.
 */
export interface BlobPart {
  /** What an earlier attempt left in it: written, but verified by nobody. */
  readonly kept: readonly Extent[];
  /** Writes all of `chunks`, one after the other, from `position`. */
  write(chunks: readonly Buffer[], position: number): Promise<void>;
  /**
   * As `StoredBlob.read`; bytes that were never written read as zeros or as the end of the file. `isShared`: others
   * want the same bytes at nearly the same time.
   */
  read(buffer: Buffer, length: number, position: number, isShared?: boolean): Promise<number>;
  /**
   * Hashes on from where it was last to `end`; everything before `end` must be written. Rejects with the reason of
   * `signal` when that ends it; it can go on later.
   */
  hashTo(end: number, signal?: AbortSignal): Promise<void>;
  /** Whether what was hashed so far is what the digest names. */
  isRight(): Promise<boolean>;
  /** Remembers what is written, so that the next process can go on from there if this one is killed. */
  note(written: readonly Extent[]): Promise<void>;
  /** The content was verified: makes it durable (fsync), visible (atomic rename) and known (index), in that order. */
  commit(size: number): Promise<void>;
  /** Leaves what is written to a later part of the same digest. Bytes stay readable until `close`. */
  keep(written: readonly Extent[]): Promise<void>;
  /** Removes the part from the disk. Bytes already written stay readable until `close`. */
  discard(): Promise<void>;
  /** Gives the file descriptor back; the last use. */
  close(): Promise<void>;
}

export interface KeptExtents {
  /** Of the whole blob; undefined if nobody had told. */
  readonly size: number | undefined;
  readonly written: readonly Extent[];
}

/** Blobs on local disk, by digest. Undefined means not stored: a miss. */
export interface BlobStore {
  /** Opens nothing. */
  stat(digest: Digest): Promise<{ readonly size: number } | undefined>;
  open(digest: Digest): Promise<StoredBlob | undefined>;
  /** What was kept of an earlier part of this digest, which the next part begins with. Looks at no file. */
  keptPart(digest: Digest): KeptExtents | undefined;
  /** Begins with what was kept, if its size fits. Throws `BlobStoreError` if there is no room or the disk refuses. */
  createPart(digest: Digest, expectedSize: number | undefined): Promise<BlobPart>;
  remove(digest: Digest): Promise<void>;
  totals(): { readonly blobs: number; readonly bytes: number };
  /** Whether the disk refused what it was last asked to keep; cleared as soon as it works again. */
  readonly isFailing: boolean;
  close(): Promise<void>;
}

/** What the blob store remembers of its files. */
export interface BlobIndex {
  getBlob(digest: Digest): { readonly size: number } | undefined;
  /** `usedAt`, ms since the epoch: when it was last of use, as far as anybody knows; default now. */
  putBlob(digest: Digest, entry: { readonly size: number; readonly usedAt?: number }): Promise<void>;
  deleteBlob(digest: Digest): Promise<void>;
  blobTotals(): { readonly blobs: number; readonly bytes: number };
}

/** The disk could not take or give bytes; `cause` is the system's error. */
export class BlobStoreError extends Error {
  override readonly name = 'BlobStoreError';
  readonly code: 'no-space' | 'disk-failed';

  constructor(code: 'no-space' | 'disk-failed', message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}

/** The stored blobs, read beside whoever owns them: any of them can go at any time. */
export interface BlobFiles {
  /** Bytes; undefined: not stored, or not whole. */
  size(digest: Digest): Promise<number | undefined>;
  /** All of its bytes, which nobody has verified since they were stored. Throws the system's error. */
  read(digest: Digest): AsyncIterable<Buffer>;
}

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

/** How far a walk through all that is stored has come; it takes days, and the server may be started anew meanwhile. */
export interface Bookmark {
  /** When the walk began; ms since the epoch. */
  readonly startedAt: number;
  /** The last one that is done. Undefined: none yet. */
  readonly after?: Digest;
  /** Everything is done. */
  readonly isDone: boolean;
}

/** Bookmarks by name. Undefined: there never was such a walk. */
export interface Bookmarks {
  getBookmark(name: string): Bookmark | undefined;
  putBookmark(name: string, bookmark: Bookmark): Promise<void>;
}
