import { constants } from 'node:fs';
import { lstat, mkdir, open, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { errorCode } from '../lib/errors.ts';

/** Permissions of group and others. */
const NOT_OWNER = 0o077;
/** Does not follow a link, and does not wait for the writer of a pipe. */
const OPEN_FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
export const FOLDER_MODE = 0o700;
export const FILE_MODE = 0o600;

/** Folders with cached data. Mode 0700 of a folder protects all files in it, so no blob needs a check of its own. */
const FOLDERS = ['index', 'blobs', 'parts'];
/** `blobs` may be a link to another disk. Links are left alone, so these folders are protected too. */
const INNER_FOLDERS = ['blobs/sha256', 'blobs/sha512'];
const FILES = ['version', 'index/data.mdb', 'index/lock.mdb'];

/** Paths in a data directory that other users could enter or read. */
export interface Exposed {
  /** Paths that are protected now. */
  readonly mended: readonly string[];
  /** Paths that other users can still read, because another user owns them. */
  readonly left: readonly string[];
}

/**
 * Makes a folder and its missing parents. Node's `recursive` never ends on a file system that answers ENOENT, as /proc
 * does. Throws the system's error.
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
 * Makes the folders of a data directory and closes them to other users. The mode of the data directory itself does not
 * matter. The cost does not grow with the number of blobs. Throws the system's error.
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
 * Closes a folder or file to other users. `closed`: it was closed before, or does not exist. A link is left alone,
 * because its target may belong to another program.
 */
export async function closePath(path: string): Promise<'closed' | 'mended' | 'left'> {
  const state = await lstat(path).catch(() => undefined);
  if (state === undefined || state.isSymbolicLink() || (state.mode & NOT_OWNER) === 0) return 'closed';
  // By a descriptor: a user with write access to the data directory could have put a link there meanwhile.
  const file = await open(path, OPEN_FLAGS).catch(() => undefined);
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

/** Undefined: the user is in no file, such as a DynamicUser of systemd. */
export async function userName(uid: number): Promise<string | undefined> {
  const lines = (await readFile('/etc/passwd', 'utf8').catch(() => '')).split('\n');
  return lines.map((line) => line.split(':')).find(([, , id]) => id === String(uid))?.[0];
}
