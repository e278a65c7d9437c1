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
import { closeToOthers, FILE_MODE, makeFolders, type Exposed } from './owner-only.ts';

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

/** The layout of the data directory that this program reads and writes. */
const LAYOUT_VERSION = '2';
/** Layouts that this program takes over and brings up to its own; what made them is then refused. */
const EARLIER_VERSIONS: readonly string[] = ['1'];
const VERSION_FILE = 'version';
/** What a new file system holds, what Kubernetes hides in a volume, and the socket of a server that is starting. */
const OF_NO_ONE = /^(?:\.|lost\+found$|control\.sock$)/;
const MAX_TAKEOVERS = 10;
/** How often the owner looks whether its lock is still there. */
const LOOK_EVERY_MS = 1000;
/** A FIFO in the place of a file is not waited for. */
const AT_ONCE = constants.O_RDONLY | constants.O_NONBLOCK;
/** Characters of a path in a message. */
const MAX_SHOWN = 200;

/**
 * What lies in a data directory.
 * - `empty`: nothing was ever kept there, or there is no such folder.
 * - `foreign`: files of others, and none of this program.
 */
export type DataDirState = 'empty' | 'foreign' | 'data';

/** Throws DataDirError. */
export async function dataDirState(dataDir: string): Promise<DataDirState> {
  try {
    const names = await readdir(dataDir).catch(unlessMissing);
    if (names === undefined) return 'empty';
    if (names.includes(VERSION_FILE)) {
      const index = await stat(join(dataDir, 'index', 'data.mdb')).catch(unlessMissing);
      return index === undefined ? 'empty' : 'data';
    }
    return names.every((name) => OF_NO_ONE.test(name)) ? 'empty' : 'foreign';
  } catch (error) {
    if (errorCode(error) !== 'EACCES') throw unusable(dataDir, error);
    const message = `no permission to read the data directory ${shortened(dataDir)}; be the user of its server`;
    throw new DataDirError('unusable', message, error);
  }
}

function unlessMissing(error: unknown): undefined {
  if (errorCode(error) !== 'ENOENT') throw error;
}

/** The data directory cannot be used; the message says why and what to do. */
export class DataDirError extends Error {
  override readonly name = 'DataDirError';
  readonly code: 'owned' | 'version' | 'unusable';

  constructor(code: 'owned' | 'version' | 'unusable', message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}

/** The one owner of a data directory. The lock is a listening socket: it is free again however its owner ends. */
export interface DataDirLock {
  /**
   * Answers what other processes of this user ask over the socket (HTTP). Requests that came before this call have
   * waited for it. To be called once at most.
   */
  answerBy(listener: RequestListener): void;
  /** Cuts what is still being answered, and gives the directory free. */
  release(): Promise<void>;
  /** What other users of this machine could have read when it was taken. */
  readonly exposed: Exposed;
}

/** Where the owner of a data directory listens. */
export function controlSocket(dataDir: string): string {
  return join(dataDir, 'control.sock');
}

/**
 * Makes the directory ready and takes it for this process tree. Throws DataDirError if another process owns it, if
 * it is of another layout, or cannot be written.
 *
 * The lock is `control.sock`. A socket is bound under a random name and then linked to that name, which fails if the
 * name is taken; a taken name that nobody answers at belongs to a dead process and is moved away. Unlike a lock
 * file it holds between containers that share a volume, and needs no process ids, which collide there.
 */
export async function takeDataDir(dataDir: string): Promise<DataDirLock> {
  try {
    return await take(dataDir);
  } catch (error) {
    throw error instanceof DataDirError ? error : unusable(dataDir, error);
  }
}

async function take(dataDir: string): Promise<DataDirLock> {
  // What is cached under `private` patterns is no business of other users of this machine. A directory that is there
  // already has the permissions that its maker wanted; what is in it is closed all the same.
  await makeFolders(dataDir);
  // A file is there, or a link that leads nowhere.
  await readdir(dataDir);
  const name = controlSocket(dataDir);
  const answering = deferred<RequestListener>();
  const servers = [await listenAs(name, dataDir, answering.promise)];
  let looking = Promise.resolve();
  // Where something has removed the name, commands would find no owner, and another server would take the directory.
  const keeper = setInterval(() => {
    looking = looking.then(async () => {
      if (existsSync(name)) return;
      // Another process was quicker, or the disk refuses: the next look comes.
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
    await checkVersion(dataDir);
    return { answerBy: answering.resolve, release, exposed: await closeToOthers(dataDir) };
  } catch (error) {
    await release();
    throw error;
  }
}

/** Listens at `name`, if nobody else does. Throws DataDirError. */
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

/** Between the question and the move another process may have claimed the name: then its socket is put back. */
async function moveDeadAway(name: string, dataDir: string): Promise<void> {
  const aside = join(dataDir, `.control.${randomBytes(6).toString('hex')}`);
  try {
    await rename(name, aside);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return;
    throw error;
  }
  if (await answers(aside)) await link(aside, name).catch(() => undefined);
  // A folder is no socket of ours: it is out of the way, and stays.
  await rm(aside, { force: true }).catch(() => undefined);
}

async function checkVersion(dataDir: string): Promise<void> {
  const path = join(dataDir, VERSION_FILE);
  try {
    const found = (await readFile(path, { encoding: 'utf8', flag: AT_ONCE })).trim();
    if (found === LAYOUT_VERSION) return;
    // An empty one is left of a start that found no room for it.
    if (found !== '' && !EARLIER_VERSIONS.includes(found)) {
      throw new DataDirError(
        'version',
        `the data directory ${dataDir} has layout version ${JSON.stringify(found.slice(0, 20))}; this program reads version ${LAYOUT_VERSION}`,
      );
    }
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
  }
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
  // A request may bring a bundle, which takes as long as it takes; Node would give it five minutes.
  const server = createServer({ requestTimeout: 0 }, listener);
  const short = await socketPath(path);
  try {
    await new Promise<void>((resolve, reject) => {
      // For as long as it lives: one that cannot accept a connection says so, and nobody who hears it would end the process.
      server.on('error', reject);
      server.listen(short.path, resolve);
    });
    // Whoever may write to the socket may command the server: its own user (and root), by permission of the file.
    // This is done before it gets the name by which it is found. umask(2) would also hit what other threads make.
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

/** A system's error as a sentence for people. */
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

/** Of a name that is too long, as much as a reader needs. */
function shortened(path: string): string {
  return path.length <= MAX_SHOWN ? path : `${path.slice(0, MAX_SHOWN)}…`;
}
