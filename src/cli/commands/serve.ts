import { startApp, type App } from '../../app/app.ts';
import type { LoadedSettings } from '../../config/load.ts';
import { withinMs } from '../../lib/promises.ts';
import { createLog, written, type Logger } from '../../log/log.ts';
import { isForPeople, messageOf, packageVersion, type ExitCode } from '../exit.ts';
import { endingSignal, type ServerSignals } from '../operation.ts';

/** After a signal during the start, the start may finish for so long. To end it later is safe: no data is lost. */
const START_GRACE_MS = 2000;

/**
 * Runs the mirror until SIGTERM or SIGINT. Running answers may finish, unless a second signal comes. Resolves to the exit
 * code. Throws errors of the start that are for people.
 */
export async function serve(loaded: LoadedSettings, signals: ServerSignals): Promise<ExitCode> {
  const { settings } = loaded;
  // All files in the data directory are for their owner only, those of libraries too.
  process.umask(0o077);
  const log = await createLog({ level: settings.logLevel, format: settings.logFormat });
  for (const warning of loaded.warnings) log.warn(warning);
  signals.onIgnored = (signal) => tellIgnored(signal, log);
  try {
    const starting = startApp({ settings, shown: loaded.sources, version: packageVersion(), log });
    const grace = signals.ending.then(() => withinMs(starting, START_GRACE_MS));
    const app = await Promise.race([starting, grace]);
    if (app !== undefined) return await untilEnd(app, { dataDir: settings.dataDir, log, signals });
    log.info({ signal: await signals.ending }, 'stopped while starting');
    return 0;
  } catch (error) {
    if (isForPeople(error)) throw error;
    log.fatal({ err: error }, messageOf(error));
    return 1;
  } finally {
    await written(log);
  }
}

async function untilEnd(
  app: App,
  { dataDir, log, signals }: { dataDir: string; log: Logger; signals: ServerSignals },
): Promise<ExitCode> {
  const { listenUrl: listen, authUrl: authListen, adminUrl: adminListen } = app;
  log.info({ listen, authListen, adminListen, dataDir }, 'ready');
  const signal = await signals.ending;
  log.info({ signal }, 'stopping');
  const second = endingSignal();
  const isClean = await Promise.race([app.stop().then(() => true), second.then(() => false)]);
  log.info(isClean ? 'stopped' : 'stopped at once');
  return isClean ? 0 : 1;
}

function tellIgnored(signal: NodeJS.Signals, log: Logger): void {
  if (signal === 'SIGHUP') log.warn({ signal }, 'settings not reloaded: restart to apply them');
  else log.info({ signal }, 'signal ignored');
}
