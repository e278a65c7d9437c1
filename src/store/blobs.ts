import type { Extent } from '../lib/extents.ts';
import type { Digest } from '../oci/digest.ts';

/** A verified blob, opened for reading. It stays readable until `close`, even if its file is removed meanwhile. */
export interface StoredBlob {
  readonly size: number;
  /** All bytes, if the blob is small and in memory. Callers must not write to the buffer. */
  readonly content: Buffer | undefined;
  /** Reads up to `length` bytes at `position` into the start of `buffer`; resolves to their number, 0 at the end. */
  read(buffer: Buffer, length: number, position: number): Promise<number>;
  close(): Promise<void>;
}

/**
 * A blob that is being filled. Bytes can be written and read at any position. The blob is not cached before `commit`.
 * Every method but `read`, `close` and `discard` throws `BlobStoreError` if the disk fails.
 */
export interface BlobPart {
  /** Bytes that an earlier attempt wrote. They are not verified. */
  readonly kept: readonly Extent[];
  /** Writes all of `chunks`, one after the other, from `position`. */
  write(chunks: readonly Buffer[], position: number): Promise<void>;
  /**
   * As `StoredBlob.read`. Bytes that were never written read as zeros or as the end of the file.
   * `isShared`: other readers read the same bytes at nearly the same time.
   */
  read(buffer: Buffer, length: number, position: number, isShared?: boolean): Promise<number>;
  /**
   * Continues the hash to `end`; all bytes before `end` must be written. Rejects with the reason of `signal` if that
   * aborts; a later call continues.
   */
  hashTo(end: number, signal?: AbortSignal): Promise<void>;
  /** Whether the hash so far equals the digest. */
  isRight(): Promise<boolean>;
  /** Records which bytes are written, so that the next process can continue if this one is killed. */
  note(written: readonly Extent[]): Promise<void>;
  /** For verified bytes. In this order: fsync, rename to the blob's path, entry in the index. */
  commit(size: number): Promise<void>;
  /** Keeps the written bytes for a later part of the same digest. They stay readable until `close`. */
  keep(written: readonly Extent[]): Promise<void>;
  /** Removes the part from the disk. Written bytes stay readable until `close`. */
  discard(): Promise<void>;
  /** Closes the file descriptor. No other call may follow. */
  close(): Promise<void>;
}

export interface KeptExtents {
  /** Size of the blob in bytes; undefined if unknown. */
  readonly size: number | undefined;
  readonly written: readonly Extent[];
}

/** Blobs on local disk, by digest. Undefined: the blob is not cached. */
export interface BlobStore {
  /** Does not open the file. */
  stat(digest: Digest): Promise<{ readonly size: number } | undefined>;
  open(digest: Digest): Promise<StoredBlob | undefined>;
  /** The bytes of an earlier part of this digest; the next part begins with them. Reads no file. */
  keptPart(digest: Digest): KeptExtents | undefined;
  /** Begins with the kept bytes, if the sizes agree. Throws `BlobStoreError` if there is no room or the disk fails. */
  createPart(digest: Digest, expectedSize: number | undefined): Promise<BlobPart>;
  remove(digest: Digest): Promise<void>;
  totals(): { readonly blobs: number; readonly bytes: number };
  /** Whether the last write failed. Cleared as soon as the disk works again. */
  readonly isFailing: boolean;
  /** Whether a blob of the last minute's requests could not be read. */
  readonly isUnreadable: boolean;
  close(): Promise<void>;
}

/** The sizes of the blobs on disk. */
export interface BlobIndex {
  getBlob(digest: Digest): { readonly size: number } | undefined;
  /** `usedAt`: time of the last use, ms since the epoch; default now. */
  putBlob(digest: Digest, entry: { readonly size: number; readonly usedAt?: number }): Promise<void>;
  deleteBlob(digest: Digest): Promise<void>;
  blobTotals(): { readonly blobs: number; readonly bytes: number };
}

/** The disk could not write or read bytes; `cause` is the system's error. */
export class BlobStoreError extends Error {
  override readonly name = 'BlobStoreError';
  readonly code: 'no-space' | 'disk-failed';

  constructor(code: 'no-space' | 'disk-failed', message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}

/** The cached blobs, read beside the owner of the data directory, which can remove each of them at any time. */
export interface BlobFiles {
  /** Bytes; undefined: the blob is not cached, or its file has another size. */
  size(digest: Digest): Promise<number | undefined>;
  /** All bytes; they are not verified again. Throws the system's error. */
  read(digest: Digest): AsyncIterable<Buffer>;
}

/**
 * Result of the check of a cached blob.
 * - `sound`: the file matches the digest.
 * - `adopted`: the file matches the digest, and the index had no entry for it until now.
 * - `corrupt`: the file has other bytes. `short`: bytes at the end are missing. `missing`: there is no file.
 * - `unreadable`: the disk cannot read the file.
 * - `gone`: the blob was removed after it was listed. This is no fault.
 */
export type BlobState = 'sound' | 'adopted' | 'corrupt' | 'short' | 'missing' | 'unreadable' | 'gone';

export interface ListedBlob {
  readonly digest: Digest;
  /** Bytes by the index, or by the file if the index has no entry. */
  readonly size: number;
}

export interface CheckOptions {
  readonly signal: AbortSignal;
  /** Called after each hashed piece; hashing waits for the promise. */
  readonly onBytes?: (bytes: number) => Promise<void> | void;
}

/** Checks that the cached blobs still match their digests. Removes nothing. */
export interface BlobAudit {
  /** Blobs in the index or on the disk, in ascending order of digests, beginning after `after`. */
  list(options: { readonly after?: Digest | undefined }): AsyncIterable<ListedBlob>;
  /** Hashes one file, off the main thread. Rejects with the signal's reason, or BlobStoreError. */
  check(digest: Digest, options: CheckOptions): Promise<BlobState>;
}

/** Progress of a walk over all cached blobs. A walk takes days, so it must survive a restart of the server. */
export interface Bookmark {
  /** Start of the walk; ms since the epoch. */
  readonly startedAt: number;
  /** The last digest that was checked. Undefined: none yet. */
  readonly after?: Digest;
  readonly isDone: boolean;
}

/** Bookmarks by name. Undefined: no such walk has begun yet. */
export interface Bookmarks {
  getBookmark(name: string): Bookmark | undefined;
  putBookmark(name: string, bookmark: Bookmark): Promise<void>;
}
