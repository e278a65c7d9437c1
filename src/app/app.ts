import type { ShownSetting } from '../config/shown.ts';
import type { Health } from '../http/server/health.ts';
import { StartError } from '../lib/errors.ts';
import type { Operations } from '../operations/protocol.ts';
import { listImages } from '../store/catalog/list.ts';
import { diskFailure, takeDataDir } from '../store/data-dir.ts';
import type { PullEntry } from '../store/history.ts';
import type { ImageEntry } from '../store/images.ts';
import { IndexError, IndexWriteError } from '../store/index/environment.ts';
import { readIndex } from '../store/manifest/lmdb.ts';
import { Cleanup } from './cleanup.ts';
import { openListeners } from './listeners.ts';
import { buildParts, type PartsOptions, type Parts } from './parts.ts';
import { openContent, type StoredContent } from './read-only.ts';

export { knownPlatforms } from './after-pulls.ts';
export { readReadiness, type StoredContent } from './read-only.ts';

export interface AppOptions extends PartsOptions {
  /** The settings with their sources, secrets masked, for the admin API. */
  readonly shown: readonly ShownSetting[];
}

export interface App {
  readonly listenUrl: string;
  /** Undefined without `authListen`. */
  readonly authUrl: string | undefined;
  /** Undefined if `adminListen` is `off`. */
  readonly adminUrl: string | undefined;
  /** Stops accepting, lets running answers finish for up to 30 s, and closes all parts. */
  stop(): Promise<void>;
}

/** The parts for a command that owns the data directory. It listens on the control socket only. */
export interface CommandApp {
  readonly operations: Operations;
  /** Waits for operations that other commands asked for, then closes all parts. */
  finish(): Promise<void>;
  /** Ends running operations and closes all parts. */
  stop(): Promise<void>;
}

/** Builds the server from its parts and starts it. Throws DataDirError, StartError, FileError. */
export function startApp(options: AppOptions): Promise<App> {
  return takenDataDir(options, (parts, cleanup) => serve(options, parts, cleanup));
}

/** Takes the data directory for a command. Throws DataDirError. */
export function openCommandApp(options: AppOptions): Promise<CommandApp> {
  return takenDataDir(options, ({ operations, control }, { run }) =>
    Promise.resolve({
      operations,
      finish: async () => {
        await control.drain();
        await run();
      },
      stop: run,
    }),
  );
}

/** The cached images. Another process may own the data directory meanwhile. Throws IndexError. */
export async function* readImages(dataDir: string): AsyncGenerator<ImageEntry> {
  const index = await readIndex(dataDir);
  try {
    yield* listImages(index.tables);
  } finally {
    await index.close();
  }
}

/** The pulls of a period. Another process may own the data directory meanwhile. Throws IndexError. */
export async function readPulls(
  dataDir: string,
  { since, until }: { readonly since: number; readonly until: number },
): Promise<PullEntry[]> {
  const index = await readIndex(dataDir);
  try {
    return [...index.tables.history.until(until)].filter(({ lastAt }) => lastAt >= since);
  } finally {
    await index.close();
  }
}

/** Opens the cached content for `use`. Another process may own the data directory meanwhile. Throws IndexError. */
export async function readContent<T>(
  dataDir: string,
  use: (content: StoredContent) => Promise<T>,
): Promise<T> {
  const content = await openContent(dataDir);
  try {
    return await use(content);
  } finally {
    await content.close();
  }
}

async function takenDataDir<T>(
  options: AppOptions,
  use: (parts: Parts, cleanup: Cleanup) => Promise<T>,
): Promise<T> {
  const cleanup = new Cleanup();
  try {
    const lock = await takeDataDir(options.settings.dataDir);
    cleanup.push(() => lock.release());
    const { mended, left } = lock.exposed;
    if (mended.length > 0) options.log.info({ paths: mended }, 'data closed to other users');
    if (left.length > 0) options.log.warn({ paths: left }, 'data open to other users');
    return await use(await buildParts(options, lock, cleanup), cleanup);
  } catch (error) {
    await cleanup.run();
    options.log.flush();
    throw startFailure(options.settings.dataDir, error);
  }
}

/** A failure of the disk becomes a sentence with advice. Other errors stay as they are. */
function startFailure(dataDir: string, error: unknown): unknown {
  const isOfIndex = error instanceof IndexError || error instanceof IndexWriteError;
  if (isOfIndex)
    return new StartError(`${error.message}; check its disk or set another --data-dir`, { cause: error });
  return diskFailure(dataDir, error);
}

async function serve(options: AppOptions, parts: Parts, cleanup: Cleanup): Promise<App> {
  const { settings, log, shown } = options;
  const { care, space } = parts;
  const health: Health = {
    get isStopping() {
      return cleanup.isRunning;
    },
    get degraded() {
      return parts.degraded();
    },
    get reasons() {
      return parts.reasons();
    },
  };
  const listeners = await openListeners({ settings, shown, log, parts, health: () => health }, cleanup);
  await space.start();
  if (settings.scrubIntervalMs !== undefined) {
    care.startScrub({ intervalMs: settings.scrubIntervalMs, isIdle: () => listeners.answering === 0 });
  }
  const { listenUrl, authUrl, adminUrl } = listeners;
  return { listenUrl, authUrl, adminUrl, stop: cleanup.run };
}
