import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, link, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createServer, type RequestListener, type Server } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { errorCode } from '../lib/error-code.ts';
import { systemReason } from '../lib/system-reason.ts';
import { deferred } from '../lib/deferred.ts';
import { socketPath } from '../lib/socket-path.ts';

/** The layout of the data directory that this program reads and writes. */
const LAYOUT_VERSION = '2';
/** Layouts that this program takes over and brings up to its own; what made them is then refused. */
const EARLIER_VERSIONS: readonly string[] = ['1'];
const VERSION_FILE = 'version';
const MAX_TAKEOVERS = 10;
/** How often the owner looks whether its lock is still there. */
const LOOK_EVERY_MS = 1000;

/** Whether a server has ever kept something there. */
export function isDataDir(dataDir: string): boolean {
  return existsSync(join(dataDir, VERSION_FILE));
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
    // What is cached under `private` patterns is no business of other users of this machine. One that is there already
    // has the permissions that whoever made it wanted.
    await mkdir(dataDir, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new DataDirError(
      'unusable',
      `the data directory ${dataDir} cannot be made: ${systemReason(error)}`,
      error,
    );
  }
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
  } catch (error) {
    await release();
    throw error;
  }
  return { answerBy: answering.resolve, release };
}

/** Listens at `name`, if nobody else does. Throws DataDirError. */
async function listenAs(name: string, dataDir: string, answering: Promise<RequestListener>): Promise<Server> {
  const own = join(dataDir, `.control.${randomBytes(6).toString('hex')}`);
  const server = await listen(own, dataDir, (request, response) => {
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
      if (errorCode(error) !== 'EEXIST') {
        throw new DataDirError(
          'unusable',
          `the data directory ${dataDir} cannot be locked: ${systemReason(error)}`,
          error,
        );
      }
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
    throw new DataDirError(
      'unusable',
      `the data directory ${dataDir} cannot be locked: ${systemReason(error)}`,
      error,
    );
  }
  if (await answers(aside)) await link(aside, name).catch(() => undefined);
  // A folder is no socket of ours: it is out of the way, and stays.
  await rm(aside, { force: true }).catch(() => undefined);
}

async function checkVersion(dataDir: string): Promise<void> {
  const path = join(dataDir, VERSION_FILE);
  try {
    const found = (await readFile(path, 'utf8')).trim();
    if (found === LAYOUT_VERSION) return;
    if (!EARLIER_VERSIONS.includes(found)) {
      throw new DataDirError(
        'version',
        `the data directory ${dataDir} has layout version ${JSON.stringify(found.slice(0, 20))}; this program reads version ${LAYOUT_VERSION}`,
      );
    }
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
  }
  await writeFile(path, `${LAYOUT_VERSION}\n`);
}

async function listen(path: string, dataDir: string, listener: RequestListener): Promise<Server> {
  // A request may bring a bundle, which takes as long as it takes; Node would give it five minutes.
  const server = createServer({ requestTimeout: 0 }, listener);
  const short = await socketPath(path);
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(short.path, resolve);
    });
    // Whoever may write to the socket may command the server: its own user (and root), by permission of the file.
    // This is done before it gets the name by which it is found. umask(2) would also hit what other threads make.
    await chmod(path, 0o600);
  } catch (error) {
    await close(server);
    throw new DataDirError(
      'unusable',
      `the data directory ${dataDir} cannot hold a socket: ${systemReason(error)}`,
      error,
    );
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
  return new DataDirError('owned', `the data directory ${dataDir} is in use by another pierhead`);
}
