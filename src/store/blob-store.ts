import type { Digest } from '../oci/digest.ts';

/** A verified blob, opened for reading. Its file stays readable until `close`, even if it is removed meanwhile. */
export interface StoredBlob {
  readonly size: number;
  /** Reads up to `length` bytes at `position` into the start of `buffer`; resolves to how many, 0 at the end. */
  read(buffer: Buffer, length: number, position: number): Promise<number>;
  close(): Promise<void>;
}

/** A blob that is being filled: bytes can be written and read anywhere; nothing is served as stored before `commit`. */
export interface BlobPart {
  /** Writes all of `chunks`, one after the other, from `position`. Throws `BlobStoreError` when the disk refuses. */
  write(chunks: readonly Buffer[], position: number): Promise<void>;
  /** As `StoredBlob.read`; bytes that were never written read as zeros or as the end of the file. */
  read(buffer: Buffer, length: number, position: number): Promise<number>;
  /** The content was verified: makes it durable (fsync), visible (atomic rename) and known (index), in that order. */
  commit(size: number): Promise<void>;
  /** Removes the part from the disk. Bytes already written stay readable until `close`. */
  discard(): Promise<void>;
  /** Gives the file descriptor back; the last use. */
  close(): Promise<void>;
}

/** Blobs on local disk, by digest. Undefined means not stored: a miss. */
export interface BlobStore {
  /** Opens nothing. */
  stat(digest: Digest): Promise<{ readonly size: number } | undefined>;
  open(digest: Digest): Promise<StoredBlob | undefined>;
  /** Throws `BlobStoreError` if there is no room or the disk refuses. */
  createPart(digest: Digest, expectedSize: number | undefined): Promise<BlobPart>;
  remove(digest: Digest): Promise<void>;
  totals(): { readonly blobs: number; readonly bytes: number };
  close(): Promise<void>;
}

/** What the blob store remembers of its files. */
export interface BlobIndex {
  getBlob(digest: Digest): { readonly size: number } | undefined;
  putBlob(digest: Digest, entry: { readonly size: number }): Promise<void>;
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
