import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { digestAlgorithm, digestHex, type Digest, type DigestAlgorithm } from '../../oci/digest.ts';

/** Where a blob is kept: `<dataDir>/blobs/sha256/ab/ab12…`. */
export function blobPath(dataDir: string, digest: Digest): string {
  const hex = digestHex(digest);
  return join(blobFolder(dataDir, digestAlgorithm(digest), hex.slice(0, 2)), hex);
}

/** Where the blobs are kept whose hex digits begin with these two. */
export function blobFolder(dataDir: string, algorithm: DigestAlgorithm, hexPrefix: string): string {
  return join(dataDir, 'blobs', algorithm, hexPrefix);
}

export function partsDirectory(dataDir: string): string {
  return join(dataDir, 'parts');
}

/** A new name for a growing blob. Random: process ids collide between containers that share a volume. */
export function newPartPath(dataDir: string, digest: Digest): string {
  return join(partsDirectory(dataDir), `${digest}.${randomBytes(8).toString('hex')}`);
}

const JOURNAL = '.journal';

/** Beside a part: what of it is written. */
export function journalPath(partPath: string): string {
  return `${partPath}${JOURNAL}`;
}

/** The part that a journal is of; undefined if the name is not a journal's. */
export function partOfJournal(path: string): string | undefined {
  return path.endsWith(JOURNAL) ? path.slice(0, -JOURNAL.length) : undefined;
}
