import { createHash } from 'node:crypto';

const CHUNK = Buffer.alloc(8 * 1024 * 1024);

/** A blob of nothing but zeros, which takes no room on a disk. */
export interface SparseBlob {
  readonly digest: string;
  readonly size: number;
}

/** So many of about `size` bytes: each is a byte longer than the one before, so that all have digests of their own. */
export function sparseBlobs(count: number, size: number): SparseBlob[] {
  const hash = createHash('sha256');
  for (let left = size; left > 0; left -= CHUNK.length) hash.update(CHUNK.subarray(0, left));
  return Array.from({ length: count }, (_, longer) => ({
    digest: `sha256:${hash.copy().update(Buffer.alloc(longer)).digest('hex')}`,
    size: size + longer,
  }));
}
