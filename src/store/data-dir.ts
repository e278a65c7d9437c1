import { randomBytes } from 'node:crypto';
import { constants, existsSync } from 'node:fs';
import {
  open,
  type FileHandle,
  chmod,
  link,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import { createServer, type RequestListener, type Server } from 'node:http';
import { connect } from 'node:net';
import { basename, dirname, join } from 'node:path';
import { errorCode, systemReason } from '../lib/errors.ts';
import { deferred } from '../lib/promises.ts';
import { closeToOthers, FILE_MODE, makeFolders, userName, type Exposed } from './owner-only.ts';

/** sun_path has 108 bytes on Linux and 104 on macOS and the BSDs (unix(7)). */
const MAX_PATH_BYTES = 100;

/**
 * A path that a Unix socket can be bound or connected to. A longer path is replaced by one through a descriptor of its
 * directory (Linux only); `release` closes the descriptor.
 */
export async function socketPath(path: string): Promise<{ readonly path: string; release(): Promise<void> }> {
  if (Buffer.byteLength(path) <= MAX_PATH_BYTES) return { path, release: () => Promise.resolve() };
  const directory: FileHandle = await open(dirname(path), 'r');
  return { path: `/proc/self/fd/${directory.fd}/${basename(path)}`, release: () => directory.close() };
}

/** The layout of the data directory that this program reads and writes. */
const LAYOUT_VERSION = '2';
/** Layouts that this program upgrades. The version of Pierhead that made them then refuses the directory. */
const EARLIER_VERSIONS: readonly string[] = ['1'];
const VERSION_FILE = 'version';
/** Files of a new file system, hidden files of Kubernetes volumes, and the socket of a server that is starting. */
const IGNORED_NAME = /^(?:\.|lost\+found$|control\.sock$)/;
const MAX_TAKEOVERS = 10;
/** How often the owner checks that its socket still exists. */
const LOOK_EVERY_MS = 1000;
/** Without O_NONBLOCK, opening a FIFO in place of the file would wait for a writer. */
const READ_FLAGS = constants.O_RDONLY | constants.O_NONBLOCK;
/** Characters of a path in a message. */
const MAX_SHOWN = 200;

/**
 * State of a data directory.
 * - `empty`: it was never used, or there is no such folder.
 * - `foreign`: it has only files of other programs.
 */
export type DataDirState = 'empty' | 'foreign' | 'data';

/** Throws DataDirError. */
export async function dataDirState(dataDir: string): Promise<DataDirState> {
  try {
    const names = await readdir(dataDir).catch(unlessMissing);
    if (names === undefined) return 'empty';
    if (names.includes(VERSION_FILE)) {
      await layoutVersion(dataDir);
      const index = await stat(join(dataDir, 'index', 'data.mdb')).catch(unlessMissing);
      return index === undefined ? 'empty' : 'data';
    }
    return names.every((name) => IGNORED_NAME.test(name)) ? 'empty' : 'foreign';
  } catch (error) {
    if (error instanceof DataDirError) throw error;
    if (errorCode(error) !== 'EACCES') throw unusable(dataDir, error);
    const message = `no permission to read the data directory ${shortened(dataDir)}; run this as the user of the server`;
    throw new DataDirError('unusable', message, error);
  }
}

function unlessMissing(error: unknown): undefined {
  if (errorCode(error) !== 'ENOENT') throw error;
}

/** The data directory cannot be used; the message states the reason and the remedy. */
export class DataDirError extends Error {
  override readonly name = 'DataDirError';
  readonly code: 'owned' | 'user' | 'version' | 'unusable';

  constructor(code: 'owned' | 'user' | 'version' | 'unusable', message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}

/** Held by the one owner of a data directory. The lock is a listening socket, so it ends with its process. */
export interface DataDirLock {
  /**
   * Answers HTTP requests of this user's other processes over the socket. Requests that came before this call wait
   * for it. May be called once.
   */
  answerBy(listener: RequestListener): void;
  /** Closes open connections and releases the directory. */
  release(): Promise<void>;
  /** Paths that other users of this machine could read before the lock was taken. */
  readonly exposed: Exposed;
}

/** Where the owner of a data directory listens. */
export function controlSocket(dataDir: string): string {
  return join(dataDir, 'control.sock');
}

/**
 * Makes the directory and locks it for this process. Throws DataDirError if another process owns the directory, if
 * this process is root's and the directory is not, if its layout is another one, or if it cannot be written.
 *
 * The lock is `control.sock`. A socket is bound under a random name and then linked to that name; the link fails if the
 * name exists. If connecting to the existing name fails, its process is dead, and the socket is moved away. Unlike a
 * lock file, this works between containers that share a volume: it needs no process ids, which collide there.
 */
export async function takeDataDir(dataDir: string): Promise<DataDirLock> {
  try {
    return await take(dataDir);
  } catch (error) {
    throw error instanceof DataDirError ? error : unusable(dataDir, error);
  }
}

async function take(dataDir: string): Promise<DataDirLock> {
  // Private images are cached, so other users of this machine must not read them. The mode of an existing directory is
  // left alone; `closeToOthers` protects the folders in it.
  await makeFolders(dataDir);
  // Fails if the path is a file or a dangling link.
  await readdir(dataDir);
  const name = controlSocket(dataDir);
  const answering = deferred<RequestListener>();
  const servers = [await listenAs(name, dataDir, answering.promise)];
  let looking = Promise.resolve();
  // If something removes the socket, commands find no owner, and another server could take the directory.
  const keeper = setInterval(() => {
    looking = looking.then(async () => {
      if (existsSync(name)) return;
      // If another process was quicker or the disk fails, the next interval tries again.
      const server = await listenAs(name, dataDir, answering.promise).catch(() => undefined);
      if (server !== undefined) servers.push(server);
    });
  }, LOOK_EVERY_MS);
  keeper.unref();
  const release = async (): Promise<void> => {
    clearInterval(keeper);
    await looking;
    await rm(name, { force: true });
    await Promise.all(servers.map(close));
  };
  try {
    await checkUser(dataDir, name);
    await checkVersion(dataDir);
    return { answerBy: answering.resolve, release, exposed: await closeToOthers(dataDir) };
  } catch (error) {
    await release();
    throw error;
  }
}

/** Listens at `name`. Throws DataDirError if another process does. */
async function listenAs(name: string, dataDir: string, answering: Promise<RequestListener>): Promise<Server> {
  const own = join(dataDir, `.control.${randomBytes(6).toString('hex')}`);
  const server = await listen(own, (request, response) => {
    void answering.then((listener) => listener(request, response));
  });
  try {
    await claim(name, own, dataDir);
    return server;
  } catch (error) {
    await close(server);
    throw error;
  } finally {
    await rm(own, { force: true });
  }
}

async function claim(name: string, own: string, dataDir: string): Promise<void> {
  for (let takeover = 0; takeover < MAX_TAKEOVERS; takeover++) {
    try {
      await link(own, name);
      return;
    } catch (error) {
      if (errorCode(error) !== 'EEXIST') throw error;
    }
    if (await answers(name)) throw owned(dataDir);
    await moveDeadAway(name, dataDir);
  }
  throw owned(dataDir);
}

/** Another process may have claimed the name before the move: then its socket is linked again. */
async function moveDeadAway(name: string, dataDir: string): Promise<void> {
  const aside = join(dataDir, `.control.${randomBytes(6).toString('hex')}`);
  try {
    await rename(name, aside);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return;
    throw error;
  }
  if (await answers(aside)) await link(aside, name).catch(() => undefined);
  // A folder under that name is not ours: it stays under the new name.
  await rm(aside, { force: true }).catch(() => undefined);
}

/**
 * The user of the server could not read what root writes into a directory of that user. The owner of a written file
 * (`lock`) decides, not the user of this process: NFS with root_squash gives root's files to another user.
 */
async function checkUser(dataDir: string, lock: string): Promise<void> {
  if (process.geteuid?.() !== 0) return;
  const [{ uid }, written] = await Promise.all([stat(dataDir), stat(lock)]);
  if (written.uid === uid) return;
  const user = await userName(uid);
  const [shown, sudo] = user === undefined ? [uid, `'#${uid}'`] : [`${user} (${uid})`, user];
  throw new DataDirError(
    'user',
    `the data directory ${shortened(dataDir)} belongs to user ${shown}, who could not read the files of root; run this as that user: sudo -u ${sudo} …`,
  );
}

/** Undefined: none, or none that counts. Throws DataDirError. */
async function layoutVersion(dataDir: string): Promise<string | undefined> {
  const path = join(dataDir, VERSION_FILE);
  const text = await readFile(path, { encoding: 'utf8', flag: READ_FLAGS }).catch(unlessMissing);
  // A start on a full disk leaves an empty file.
  const found = text?.trim() ?? '';
  if (found === '') return undefined;
  if (found === LAYOUT_VERSION || EARLIER_VERSIONS.includes(found)) return found;
  throw new DataDirError(
    'version',
    `the data directory ${dataDir} has layout version ${JSON.stringify(found.slice(0, 20))}; this program reads version ${LAYOUT_VERSION}; start the version of pierhead that made it`,
  );
}

async function checkVersion(dataDir: string): Promise<void> {
  const path = join(dataDir, VERSION_FILE);
  if ((await layoutVersion(dataDir)) === LAYOUT_VERSION) return;
  const next = join(dataDir, `.version.${randomBytes(6).toString('hex')}`);
  try {
    await writeFile(next, `${LAYOUT_VERSION}\n`, { mode: FILE_MODE });
    await rename(next, path);
  } catch (error) {
    await rm(next, { force: true }).catch(() => undefined);
    throw error;
  }
}

async function listen(path: string, listener: RequestListener): Promise<Server> {
  // The import of a bundle can take longer than Node's default limit of five minutes.
  const server = createServer({ requestTimeout: 0 }, listener);
  const short = await socketPath(path);
  try {
    await new Promise<void>((resolve, reject) => {
      // This listener stays: a failed accept emits `error`, which would end the process without a listener.
      server.on('error', reject);
      server.listen(short.path, resolve);
    });
    // Write permission on the socket is permission to command the server: only its own user and root have it. The mode
    // is set before the link makes the socket public. umask(2) would affect the files of other threads too.
    await chmod(path, 0o600);
  } catch (error) {
    await close(server);
    throw error;
  } finally {
    await short.release();
  }
  server.unref();
  return server;
}

async function answers(path: string): Promise<boolean> {
  const short = await socketPath(path);
  try {
    return await new Promise<boolean>((resolve) => {
      const socket = connect(short.path);
      socket.once('connect', () => {
        socket.destroy();
        resolve(true);
      });
      socket.once('error', () => resolve(false));
    });
  } finally {
    await short.release();
  }
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

function owned(dataDir: string): DataDirError {
  return new DataDirError(
    'owned',
    `the data directory ${dataDir} is in use by another pierhead; stop that one or set another --data-dir`,
  );
}

/** A system's error about a path in the data directory as DataDirError; any other error as it is. */
export function diskFailure(dataDir: string, error: unknown): unknown {
  const path = error instanceof Error && 'path' in error ? error.path : undefined;
  const isOfDisk = typeof path === 'string' && path.startsWith(join(dataDir, '/'));
  return isOfDisk && errorCode(error) !== undefined ? unusable(dataDir, error) : error;
}

/** The system's error as a message for users. */
function unusable(dataDir: string, error: unknown): DataDirError {
  const where = `the data directory ${shortened(dataDir)}`;
  return new DataDirError('unusable', sentence(where, error), error);
}

function sentence(where: string, error: unknown): string {
  const other = 'set another --data-dir';
  const code = errorCode(error);
  switch (code) {
    case 'EACCES':
      return `no permission to use ${where}; make user ${process.getuid?.() ?? ''} its owner or ${other}`;
    case 'EROFS':
      return `${where} is on a read-only file system; mount it writable or ${other}`;
    case 'ENOSPC':
    case 'EDQUOT':
      return `no room for ${where}: the disk or the quota is full; free some space or ${other}`;
    case 'EEXIST':
    case 'ENOTDIR':
      return `${where} cannot be made: a file is in its place; remove the file or ${other}`;
    case 'ENAMETOOLONG':
      return `${where} cannot be made: its name is too long; set a shorter --data-dir`;
    case 'ELOOP':
    case 'ENOENT':
    case 'EPERM':
    case 'EINVAL':
    case 'ENOTSUP':
    case 'EOPNOTSUPP':
      return `${where} cannot be made there; set --data-dir to a folder on a local disk`;
    default:
      return `${where} cannot be used (${code ?? systemReason(error)}); check its disk or ${other}`;
  }
}

/** The beginning of a long path. */
function shortened(path: string): string {
  return path.length <= MAX_SHOWN ? path : `${path.slice(0, MAX_SHOWN)}…`;
}
