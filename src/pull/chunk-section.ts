import type { Hash } from 'node:crypto';
import { hasherMatches, type Digest } from '../oci/digest.ts';
import { BlobBodyError, HELD_BACK_BYTES, type BlobSection } from './blob-body.ts';

/** A section whose bytes come as chunks. After an abort it never ends as if it were whole. */
export function sectionOf(chunks: AsyncIterator<Buffer, void>, signal: AbortSignal): BlobSection {
  return {
    read: async () => {
      for (;;) {
        const next = await chunks.next();
        if (signal.aborted) throw new BlobBodyError('broken', 'the reader was closed');
        if (next.done === true) return [];
        if (next.value.length > 0) return [next.value];
      }
    },
  };
}

/**
 * Passes chunks to the end of a blob on, of which the last ones wait until the whole is what `digest` names.
 * `hasher` has seen everything before them. Throws BlobBodyError `corrupt`.
 */
export async function* verifiedAtEnd(
  chunks: AsyncIterable<Buffer>,
  hasher: Hash,
  digest: Digest,
): AsyncGenerator<Buffer, void> {
  const heldBack: Buffer[] = [];
  let heldBytes = 0;
  for await (const chunk of chunks) {
    hasher.update(chunk);
    heldBack.push(chunk);
    heldBytes += chunk.length;
    for (let head = heldBack[0]; head && heldBytes - head.length >= HELD_BACK_BYTES; head = heldBack[0]) {
      heldBack.shift();
      heldBytes -= head.length;
      yield head;
    }
  }
  if (!hasherMatches(hasher, digest)) {
    throw new BlobBodyError('corrupt', `upstream sent bytes that are not ${digest}`);
  }
  yield* heldBack;
}
