import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { digestAlgorithm, digestHex, type Digest } from '../../oci/digest.ts';

/** Where a blob is kept: `<dataDir>/blobs/sha256/ab/ab12…`. */
export function blobPath(dataDir: string, digest: Digest): string {
  const hex = digestHex(digest);
  return join(dataDir, 'blobs', digestAlgorithm(digest), hex.slice(0, 2), hex);
}

export function partsDirectory(dataDir: string): string {
  return join(dataDir, 'parts');
}

/** A new name for a growing blob. Random: process ids collide between containers that share a volume. */
export function newPartPath(dataDir: string, digest: Digest): string {
  return join(partsDirectory(dataDir), `${digest}.${randomBytes(8).toString('hex')}`);
}
