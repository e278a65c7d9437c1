import type { Digest } from '../oci/digest.ts';

/** The stored blobs, read beside whoever owns them: any of them can go at any time. */
export interface BlobFiles {
  /** Bytes; undefined: not stored, or not whole. */
  size(digest: Digest): Promise<number | undefined>;
  /** All of its bytes, which nobody has verified since they were stored. Throws the system's error. */
  read(digest: Digest): AsyncIterable<Buffer>;
}
