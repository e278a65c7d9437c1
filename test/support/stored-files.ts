import { readFile, stat, truncate, writeFile } from 'node:fs/promises';
import type { Digest } from '../../src/oci/digest.ts';
import { blobPath } from '../../src/store/part/layout.ts';

/** Flips a bit in the middle of a stored blob, as a disk that loses bits does. */
export async function rot(dataDir: string, digest: Digest): Promise<void> {
  const path = blobPath(dataDir, digest);
  const bytes = await readFile(path);
  const middle = Math.floor(bytes.length / 2);
  bytes.writeUInt8(bytes.readUInt8(middle) ^ 1, middle);
  await writeFile(path, bytes);
}

/** Takes the second half of a stored blob away. */
export async function shorten(dataDir: string, digest: Digest): Promise<void> {
  const path = blobPath(dataDir, digest);
  await truncate(path, Math.floor((await stat(path)).size / 2));
}

/** The bytes of a stored blob; undefined if it has no file. */
export function storedBytes(dataDir: string, digest: Digest): Promise<Buffer | undefined> {
  return readFile(blobPath(dataDir, digest)).catch(() => undefined);
}
