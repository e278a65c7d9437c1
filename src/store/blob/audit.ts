import { readdir } from 'node:fs/promises';
import { errorCode } from '../../lib/errors.ts';
import {
  digestAlgorithm,
  digestHex,
  parseDigest,
  type Digest,
  type DigestAlgorithm,
} from '../../oci/digest.ts';
import type { BlobAudit, BlobState, CheckOptions, ListedBlob, BlobIndex } from '../blobs.ts';
import { closePath } from '../owner-only.ts';
import { diskError, fileState } from '../part/disk-error.ts';
import { HashError, type FileHasher } from '../part/hashing.ts';
import { blobFolder, blobPath } from '../part/layout.ts';
import type { BlobLeases } from './leases.ts';

/** The index of blobs, with a walk over them. */
export interface ListedBlobIndex extends BlobIndex {
  /** The blobs whose digests begin with `prefix`, in ascending order. */
  listBlobs(prefix: string): ListedBlob[];
}

export interface DiskAuditOptions {
  readonly dataDir: string;
  readonly index: ListedBlobIndex;
  readonly hasher: FileHasher;
  readonly leases: Pick<BlobLeases, 'isBeingRemoved'>;
}

const ALGORITHMS: readonly DigestAlgorithm[] = ['sha256', 'sha512'];
/** The folders of each algorithm, in the order of their digests. */
const FOLDERS = Array.from({ length: 256 }, (_, index) => index.toString(16).padStart(2, '0'));

/** Checks the files of DiskBlobStore. It lists folder by folder, so that a million digests are never in memory. */
export class DiskBlobAudit implements BlobAudit {
  readonly #options: DiskAuditOptions;

  constructor(options: DiskAuditOptions) {
    this.#options = options;
  }

  async *list(options: { readonly after?: Digest | undefined }): AsyncGenerator<ListedBlob> {
    const { after = '' } = options;
    for (const algorithm of ALGORITHMS) {
      for (const folder of FOLDERS) {
        const prefix = `${algorithm}:${folder}`;
        if (prefix < after.slice(0, prefix.length)) continue;
        for (const blob of await this.#inFolder(algorithm, folder)) if (blob.digest > after) yield blob;
      }
    }
  }

  async check(digest: Digest, options: CheckOptions): Promise<BlobState> {
    const { dataDir, index, leases } = this.#options;
    const path = blobPath(dataDir, digest);
    const known = index.getBlob(digest);
    const file = await fileState(path);
    await closePath(path);
    // An eviction removes the entry first, and then the file.
    if (file === undefined) return index.getBlob(digest) === undefined ? 'gone' : 'missing';
    const { size, mtimeMs } = file;
    if (known !== undefined && size < known.size) return 'short';
    try {
      const algorithm = digestAlgorithm(digest);
      const hex = await this.#options.hasher.hash(path, { ...options, algorithm, size });
      if (hex !== digestHex(digest)) return 'corrupt';
    } catch (error) {
      if (!(error instanceof HashError)) throw error;
      if (error.code === 'unreadable') return 'unreadable';
      if (index.getBlob(digest) === undefined) return 'gone';
      return error.code;
    }
    if (known?.size === size) return 'sound';
    // A process was killed between rename and index, or a fill is committing this blob now.
    if (index.getBlob(digest) === undefined && (await fileState(path)) === undefined) return 'gone';
    // Evicted, and the file is being removed: a new entry would have no file.
    if (leases.isBeingRemoved(digest)) return 'gone';
    // As old as its file: a blob that a killed eviction left is evicted before blobs that were pulled since.
    await index.putBlob(digest, { size, usedAt: mtimeMs });
    return 'adopted';
  }

  async #inFolder(algorithm: DigestAlgorithm, folder: string): Promise<ListedBlob[]> {
    const { dataDir, index } = this.#options;
    const known = index.listBlobs(`${algorithm}:${folder}`);
    const digests = new Set(known.map(({ digest }) => digest));
    const unknown: ListedBlob[] = [];
    for (const digest of await digestsOnDisk(dataDir, algorithm, folder)) {
      if (digests.has(digest) || index.getBlob(digest) !== undefined) continue;
      const file = await fileState(blobPath(dataDir, digest));
      if (file !== undefined) unknown.push({ digest, size: file.size });
    }
    return unknown.length === 0
      ? known
      : [...known, ...unknown].sort((a, b) => (a.digest < b.digest ? -1 : 1));
  }
}

async function digestsOnDisk(
  dataDir: string,
  algorithm: DigestAlgorithm,
  hexPrefix: string,
): Promise<Digest[]> {
  const folder = blobFolder(dataDir, algorithm, hexPrefix);
  await closePath(folder);
  try {
    const digests = (await readdir(folder)).map((name) => parseDigest(`${algorithm}:${name}`));
    return digests.filter(
      (digest): digest is Digest => digest !== undefined && digestHex(digest).startsWith(hexPrefix),
    );
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return [];
    throw diskError(error, `listing ${folder}`);
  }
}
