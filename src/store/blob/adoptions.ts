import { rm } from 'node:fs/promises';
import { errorCode } from '../../lib/errors.ts';
import { digestAlgorithm, digestHex, type Digest } from '../../oci/digest.ts';
import type { BlobIndex } from '../blobs.ts';
import { diskError, fileState } from '../part/disk-error.ts';
import type { HashThread } from '../part/hashing.ts';
import { blobPath } from '../part/layout.ts';
import type { BlobLeases } from './leases.ts';

export interface AdoptionsOptions {
  readonly dataDir: string;
  readonly index: BlobIndex;
  readonly leases: BlobLeases;
  readonly hashes: HashThread;
}

/**
 * Adopts files without an index entry. A process that was killed between rename and index leaves one; a lost index
 * leaves all. On request, a file that matches its digest gets an entry, and another one is removed.
 */
export class Adoptions {
  readonly #options: AdoptionsOptions;
  readonly #running = new Map<Digest, Promise<number | undefined>>();

  constructor(options: AdoptionsOptions) {
    this.#options = options;
  }

  /** The size of the adopted file; undefined: none. Concurrent calls share one adoption. Throws BlobStoreError. */
  adopt(digest: Digest): Promise<number | undefined> {
    const running = this.#running.get(digest);
    if (running !== undefined) return running;
    const release = this.#options.leases.hold(digest);
    const adoption = this.#verifyAndIndex(digest).finally(() => {
      this.#running.delete(digest);
      release();
    });
    this.#running.set(digest, adoption);
    return adoption;
  }

  async #verifyAndIndex(digest: Digest): Promise<number | undefined> {
    const { dataDir, index, hashes } = this.#options;
    const path = blobPath(dataDir, digest);
    const file = await fileState(path);
    if (file === undefined) return undefined;
    const { size } = file;
    const hash = hashes.open(path, digestAlgorithm(digest));
    try {
      await hash.advance(size);
      if ((await hash.digest()) === digestHex(digest)) {
        // If the index fails, the file is correct all the same; the next request adopts it again.
        await index.putBlob(digest, { size }).catch(() => undefined);
        return size;
      }
    } catch (error) {
      // The file was removed after `fileState`.
      if (errorCode(error) === 'ENOENT') return undefined;
      throw diskError(error, `reading ${digest}`);
    } finally {
      hash.close();
    }
    await rm(path, { force: true });
    return undefined;
  }
}
