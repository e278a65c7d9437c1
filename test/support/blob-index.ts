import type { Digest } from '../../src/oci/digest.ts';
import type { BlobIndex } from '../../src/store/blobs.ts';

/** An index of blobs that lives as long as the test. */
export function memoryBlobIndex(): BlobIndex {
  const entries = new Map<Digest, { readonly size: number }>();
  return {
    getBlob: (digest) => entries.get(digest),
    putBlob: (digest, entry) => {
      entries.set(digest, entry);
      return Promise.resolve();
    },
    deleteBlob: (digest) => {
      entries.delete(digest);
      return Promise.resolve();
    },
    blobTotals: () => ({
      blobs: entries.size,
      bytes: [...entries.values()].reduce((sum, { size }) => sum + size, 0),
    }),
  };
}
