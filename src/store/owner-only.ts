import { constants } from 'node:fs';
import { lstat, mkdir, open } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { errorCode } from '../lib/errors.ts';

/** Group and others. */
const NOT_OWNER = 0o077;
/** No link is followed, and no pipe waited for. */
const AS_IT_IS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
export const FOLDER_MODE = 0o700;
export const FILE_MODE = 0o600;

/** What holds content. A folder that only its owner may enter protects all that is in it, a million blobs too. */
const FOLDERS = ['index', 'blobs', 'parts'];
/** `blobs` may be a link to another disk: then the folders in it protect what they hold. */
const INNER_FOLDERS = ['blobs/sha256', 'blobs/sha512'];
const FILES = ['version', 'index/data.mdb', 'index/lock.mdb'];

/** Paths within a data directory that other users could enter or read. */
export interface Exposed {
  /** They cannot any more. */
  readonly mended: readonly string[];
  /** They still can: another user owns these paths. */
  readonly left: readonly string[];
}

/**
 * Makes a folder and those above it that are missing. Node's own way (`recursive`) never ends where the file system
 * takes no new folders and says ENOENT, as /proc does. Throws the system's error.
 */
export async function makeFolders(path: string): Promise<void> {
  try {
    await mkdir(path, FOLDER_MODE).catch(unlessThere);
  } catch (error) {
    if (errorCode(error) !== 'ENOENT' || dirname(path) === path) throw error;
    await makeFolders(dirname(path));
    await mkdir(path, FOLDER_MODE).catch(unlessThere);
  }
}

function unlessThere(error: unknown): void {
  if (errorCode(error) !== 'EEXIST') throw error;
}

/**
 * Makes the folders of a data directory, and takes from other users what they could enter or read, whatever the mode of
 * the data directory itself. Looks at a few paths, however much is stored. Throws the system's error.
 */
export async function closeToOthers(dataDir: string): Promise<Exposed> {
  for (const name of FOLDERS) await mkdir(join(dataDir, name), FOLDER_MODE).catch(unlessThere);
  const exposed: { readonly mended: string[]; readonly left: string[] } = { mended: [], left: [] };
  for (const name of [...FOLDERS, ...INNER_FOLDERS, ...FILES]) {
    const path = join(dataDir, name);
    const outcome = await closePath(path);
    if (outcome !== 'closed') exposed[outcome].push(path);
  }
  return exposed;
}

/**
 * Takes a folder or file from other users. `closed`: they could not reach it before, or there is none. A link is left
 * alone: what it leads to need not be ours.
 */
export async function closePath(path: string): Promise<'closed' | 'mended' | 'left'> {
  const state = await lstat(path).catch(() => undefined);
  if (state === undefined || state.isSymbolicLink() || (state.mode & NOT_OWNER) === 0) return 'closed';
  // By a descriptor: who may write to the data directory could put a link there by now.
  const file = await open(path, AS_IT_IS).catch(() => undefined);
  try {
    if (file === undefined) return 'left';
    await file.chmod((await file.stat()).mode & ~NOT_OWNER & 0o777);
    return 'mended';
  } catch {
    return 'left';
  } finally {
    await file?.close();
  }
}
