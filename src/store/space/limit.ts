import { readdir, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { partsDirectory } from '../blob/layout.ts';

/** The unit of `st_blocks` (stat(2)). */
const BLOCK_BYTES = 512;

/** The hard limit on what is kept, as it is set. */
export type SizeLimit = { readonly bytes: number } | { readonly percent: number };

/**
 * The limit in bytes. A share is of what the file system could give: what is free now and what is ours already
 * (`storedBytes` and the parts). Measured once, so that neither our growth nor that of others moves it.
 */
export async function measureLimit(dataDir: string, limit: SizeLimit, storedBytes: number): Promise<number> {
  if ('bytes' in limit) return limit.bytes;
  const own = storedBytes + (await allocatedPartBytes(dataDir));
  return Math.floor(((own + (await freeBytes(dataDir))) * limit.percent) / 100);
}

/** What all files of blobs take, whoever knows of them: for where no index tells. */
export async function blobFileBytes(dataDir: string): Promise<number> {
  const root = join(dataDir, 'blobs');
  let bytes = 0;
  for (const algorithm of await readdir(root).catch(() => [])) {
    for (const prefix of await readdir(join(root, algorithm)).catch(() => [])) {
      bytes += await fileBytes(join(root, algorithm, prefix));
    }
  }
  return bytes;
}

/** What the file system has left for us. */
export async function freeBytes(dataDir: string): Promise<number> {
  const { bavail, bsize } = await statfs(dataDir);
  return bavail * bsize;
}

/** What growing and kept parts take on the disk: they are sparse, so less than their sizes. */
export async function allocatedPartBytes(dataDir: string): Promise<number> {
  return fileBytes(partsDirectory(dataDir));
}

async function fileBytes(folder: string): Promise<number> {
  const names = await readdir(folder).catch(() => []);
  const sizes = await Promise.all(
    names.map(async (name) => {
      const file = await stat(join(folder, name)).catch(() => undefined);
      return file === undefined ? 0 : file.blocks * BLOCK_BYTES;
    }),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}
