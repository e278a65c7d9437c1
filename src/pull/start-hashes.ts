import type { Hash } from 'node:crypto';
import { digestHasher, type Digest } from '../oci/digest.ts';
import type { BlobPart } from '../store/blob-store.ts';
import { BlobBodyError } from './blob-body.ts';

const READ_BYTES = 256 * 1024;

/** Hashes of the start of a part, for readers that go on without it: one for all who do so at the same byte. */
export class StartHashes {
  readonly #byEnd = new Map<number, Promise<Hash>>();

  /** Of the first `end` bytes, all of which are written; of nothing if there is no part. To be copied before use. */
  of(part: BlobPart | undefined, digest: Digest, end: number): Promise<Hash> {
    const hash = this.#byEnd.get(end) ?? hashOfStart(part, digest, end);
    this.#byEnd.set(end, hash);
    return hash;
  }
}

async function hashOfStart(part: BlobPart | undefined, digest: Digest, end: number): Promise<Hash> {
  const hasher = digestHasher(digest);
  const buffer = Buffer.alloc(READ_BYTES);
  for (let at = 0; at < end;) {
    const read = (await part?.read(buffer, Math.min(buffer.length, end - at), at)) ?? 0;
    if (read === 0) throw new BlobBodyError('broken', 'the part file lost bytes that were written to it');
    hasher.update(buffer.subarray(0, read));
    at += read;
  }
  return hasher;
}
