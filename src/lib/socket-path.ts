import { open, type FileHandle } from 'node:fs/promises';
import { basename, dirname } from 'node:path';

/** sun_path holds 108 bytes on Linux and 104 on macOS and the BSDs (unix(7)). */
const MAX_PATH_BYTES = 100;

/**
 * A path that a Unix socket can be bound to or reached by. A longer one goes through a descriptor of its directory,
 * which Linux offers; `release` gives that back.
 */
export async function socketPath(path: string): Promise<{ readonly path: string; release(): Promise<void> }> {
  if (Buffer.byteLength(path) <= MAX_PATH_BYTES) return { path, release: () => Promise.resolve() };
  const directory: FileHandle = await open(dirname(path), 'r');
  return { path: `/proc/self/fd/${directory.fd}/${basename(path)}`, release: () => directory.close() };
}
