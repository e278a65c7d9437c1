import { stat } from 'node:fs/promises';
import { openRegularFile } from '../../lib/regular-file.ts';
import type { Digest } from '../../oci/digest.ts';
import type { BlobFiles } from '../blob-files.ts';
import type { BlobIndex } from '../blob-store.ts';
import { isMissing } from './disk-error.ts';
import { blobPath } from './layout.ts';

const CHUNK_BYTES = 1024 * 1024;

export function createBlobFiles(dataDir: string, index: Pick<BlobIndex, 'getBlob'>): BlobFiles {
  return {
    size: async (digest) => {
      const size = index.getBlob(digest)?.size;
      if (size === undefined) return undefined;
      const found = await stat(blobPath(dataDir, digest)).catch((error: unknown) => {
        if (!isMissing(error)) throw error;
      });
      return found?.isFile() === true && found.size === size ? size : undefined;
    },
    read: (digest) => contentOf(dataDir, digest),
  };
}

async function* contentOf(dataDir: string, digest: Digest): AsyncGenerator<Buffer, void> {
  const file = await openRegularFile(blobPath(dataDir, digest));
  yield* file.createReadStream({ highWaterMark: CHUNK_BYTES }) as AsyncIterable<Buffer>;
}
