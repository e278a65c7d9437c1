import { startApp } from '../app.ts';
import type { LoadedSettings } from '../config/load.ts';
import { releaseYoungGeneration } from '../lib/young-generation.ts';
import { createLog, written } from '../log/log.ts';
import { exitCodeOf, messageOf } from './failure.ts';
import { packageVersion } from './version.ts';

/** Exit codes of all commands: 1 failed, 2 wrong usage or settings. */
export type ExitCode = 0 | 1 | 2;

/**
 * Runs the mirror until a signal ends it: SIGTERM or SIGINT lets running answers finish, a second one does not.
 * Resolves to the exit code.
 */
export async function serve(loaded: LoadedSettings): Promise<ExitCode> {
  const { settings } = loaded;
  const log = await createLog({ level: settings.logLevel, format: settings.logFormat });
  for (const warning of loaded.warnings) log.warn(warning);
  const stopped = firstSignal(['SIGTERM', 'SIGINT']);
  try {
    const app = await startApp({ settings, shown: loaded.sources, version: packageVersion(), log });
    releaseYoungGeneration();
    log.info(
      {
        listen: app.listenUrl,
        authListen: app.authUrl,
        adminListen: app.adminUrl,
        dataDir: settings.dataDir,
      },
      'ready',
    );
    const signal = await stopped;
    log.info({ signal }, 'stopping');
    const second = firstSignal(['SIGTERM', 'SIGINT']);
    const isClean = await Promise.race([app.stop().then(() => true), second.then(() => false)]);
    log.info(isClean ? 'stopped' : 'stopped at once');
    return isClean ? 0 : 1;
  } catch (error) {
    const code = exitCodeOf(error);
    log.fatal({ err: code === 2 ? undefined : error }, messageOf(error));
    return code;
  } finally {
    await written(log);
  }
}

export function firstSignal(signals: readonly NodeJS.Signals[]): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    const heard = (signal: NodeJS.Signals): void => {
      for (const name of signals) process.off(name, heard);
      resolve(signal);
    };
    for (const name of signals) process.on(name, heard);
  });
}
