import type { StoredBlob } from '../store/blob-store.ts';
import { BlobBodyError, type BlobBody } from './blob-body.ts';

/** A blob that is on the disk: verified, so nothing is held back. */
export function storedBody(blob: StoredBlob): BlobBody {
  let isClosed = false;
  return {
    size: blob.size,
    content: blob.content,
    cache: 'hit',
    section: (range) => {
      let position = range?.start ?? 0;
      const end = range?.end ?? blob.size;
      return {
        read: async (buffer) => {
          if (position >= end) return [];
          const read = await blob.read(buffer, Math.min(buffer.length, end - position), position);
          if (read === 0) throw new BlobBodyError('broken', 'a cached blob is shorter than it was');
          position += read;
          return [buffer.subarray(0, read)];
        },
      };
    },
    close: () => {
      if (isClosed) return;
      isClosed = true;
      // What cannot be closed is as good as closed.
      blob.close().catch(() => undefined);
    },
  };
}
