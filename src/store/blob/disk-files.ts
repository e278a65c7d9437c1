import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { errorCode } from '../../lib/error-code.ts';
import type { BlobFiles } from '../blob-files.ts';
import type { BlobIndex } from '../blob-store.ts';
import { blobPath } from './layout.ts';

const CHUNK_BYTES = 1024 * 1024;

export function createBlobFiles(dataDir: string, index: Pick<BlobIndex, 'getBlob'>): BlobFiles {
  return {
    size: async (digest) => {
      const size = index.getBlob(digest)?.size;
      if (size === undefined) return undefined;
      const found = await stat(blobPath(dataDir, digest)).catch((error: unknown) => {
        if (errorCode(error) !== 'ENOENT') throw error;
      });
      return found?.size === size ? size : undefined;
    },
    read: (digest) => createReadStream(blobPath(dataDir, digest), { highWaterMark: CHUNK_BYTES }),
  };
}
