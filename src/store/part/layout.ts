import { randomBytes } from 'node:crypto';
import { join, sep } from 'node:path';
import { digestAlgorithm, digestHex, type Digest, type DigestAlgorithm } from '../../oci/digest.ts';

/** The file of a blob: `<dataDir>/blobs/sha256/ab/ab12…`. */
export function blobPath(dataDir: string, digest: Digest): string {
  const hex = digestHex(digest);
  return blobFolder(dataDir, digestAlgorithm(digest), hex.slice(0, 2)) + sep + hex;
}

/** The folder of the blobs whose hex digits begin with these two. */
export function blobFolder(dataDir: string, algorithm: DigestAlgorithm, hexPrefix: string): string {
  // For every hit; `join` would look at each character.
  return [dataDir, 'blobs', algorithm, hexPrefix].join(sep);
}

export function partsDirectory(dataDir: string): string {
  return join(dataDir, 'parts');
}

/** A new path for a part. Random, because process ids collide between containers that share a volume. */
export function newPartPath(dataDir: string, digest: Digest): string {
  return join(partsDirectory(dataDir), `${digest}.${randomBytes(8).toString('hex')}`);
}

const JOURNAL = '.journal';

/** The journal is beside its part. */
export function journalPath(partPath: string): string {
  return `${partPath}${JOURNAL}`;
}

/** The path of a journal's part; undefined if `path` is not a journal. */
export function partOfJournal(path: string): string | undefined {
  return path.endsWith(JOURNAL) ? path.slice(0, -JOURNAL.length) : undefined;
}
