import { setTimeout as delay } from 'node:timers/promises';
import { openCommandApp, type CommandApp } from '../app/app.ts';
import type { LoadedSettings } from '../config/load.ts';
import { createLog } from '../log/log.ts';
import {
  OperationError,
  type EventOf,
  type OperationName,
  type RequestOf,
  type ResultOf,
} from '../operations/protocol.ts';
import { DataDirError, dataDirState } from '../store/data-dir.ts';
import { askOwner, type Order } from './control-client.ts';
import { packageVersion } from './exit.ts';
import { printAside } from './print.ts';

type Ending = 'SIGTERM' | 'SIGINT';
const ENDING: readonly Ending[] = ['SIGTERM', 'SIGINT'];
/**
 * Signals that mean nothing to a server. By default SIGHUP and SIGUSR2 would end it, and SIGUSR1 opens Node's debugger,
 * by which every user of the machine could take it over.
 */
const IGNORED = ['SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const;

/**
 * What a server is told by signals, from the moment when this is made. That should be early: the first process of a
 * container gets no signal that it does not listen to.
 */
export class ServerSignals {
  /** Resolves to the signal that asks the server to end. */
  readonly ending = endingSignal();
  /** Told of signals that change nothing. */
  onIgnored: (signal: NodeJS.Signals) => void = () => undefined;

  constructor() {
    for (const name of IGNORED) process.on(name, () => this.onIgnored(name));
  }
}

/** The next signal that asks the process to end. */
export function endingSignal(): Promise<Ending> {
  return new Promise((resolve) => {
    const heard = (signal: Ending): void => {
      for (const name of ENDING) process.off(name, heard);
      resolve(signal);
    };
    for (const name of ENDING) process.on(name, heard);
  });
}

/** Runs `work` with a signal that SIGINT and SIGTERM give; a second one of the same kind ends the process. */
export async function untilSignal<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const ending = new AbortController();
  const end = (): void => ending.abort(new OperationError('stopped', 'interrupted'));
  for (const name of ENDING) process.once(name, end);
  try {
    return await work(ending.signal);
  } finally {
    for (const name of ENDING) process.off(name, end);
  }
}

/** A server that is stopping lets answers finish for 30 s; whoever waits for its end waits a little longer. */
const MAX_WAIT_MS = 40_000;
const RETRY_MS = 200;

/**
 * Does an operation in the process that owns the data directory or, if none does, in this one, which then owns it for
 * so long. SIGINT and SIGTERM end it cleanly; a second one ends the process. Throws OperationError, DataDirError.
 */
export async function runOperation<N extends OperationName>(
  loaded: LoadedSettings,
  operation: {
    readonly name: N;
    readonly request: RequestOf<N>;
    readonly onEvent: (event: EventOf<N>) => void;
    /** What an operation is given that takes bytes; called once they are wanted. */
    readonly bytes?: () => AsyncIterable<Buffer>;
  },
): Promise<ResultOf<N>> {
  return untilSignal((signal) =>
    byOwner(loaded, { ...operation, run: { signal, onEvent: operation.onEvent } }),
  );
}

/** Whether the data directory holds anything; says so if it does not. Throws OperationError, DataDirError. */
export async function hasData(dataDir: string): Promise<boolean> {
  const hasAny = (await ownState(dataDir)) === 'data';
  if (!hasAny) printAside(`pierhead: the data directory ${dataDir} is empty\n`);
  return hasAny;
}

/** A folder with files of others was named by mistake. Throws OperationError, DataDirError. */
async function ownState(dataDir: string): Promise<'empty' | 'data'> {
  const state = await dataDirState(dataDir);
  if (state !== 'foreign') return state;
  throw new OperationError('usage', `${dataDir} is not a Pierhead data directory; set another --data-dir`);
}

async function byOwner<N extends OperationName>(
  loaded: LoadedSettings,
  order: Order<N>,
): Promise<ResultOf<N>> {
  const { dataDir } = loaded.settings;
  await ownState(dataDir);
  const giveUpAt = performance.now() + MAX_WAIT_MS;
  for (;;) {
    const answer = await askOwner(dataDir, order);
    if (answer.kind === 'done') return answer.result;
    if (answer.kind === 'none') {
      const app = await takenHere(loaded);
      if (app !== undefined) return byThisProcess(app, order);
    }
    if (performance.now() > giveUpAt) {
      throw new OperationError('failed', `the data directory ${dataDir} is not given free by its owner`);
    }
    await delay(RETRY_MS, undefined, { signal: order.run.signal }).catch(() =>
      order.run.signal.throwIfAborted(),
    );
  }
}

/** Undefined: another process has taken the data directory since it was asked for. */
async function takenHere({ settings, sources }: LoadedSettings): Promise<CommandApp | undefined> {
  // As a server's, the files of this process are for their owner only.
  process.umask(0o077);
  // What happens is the result of the command; only what should not happen at all is worth a line of log.
  const log = await createLog({ level: 'error', format: settings.logFormat, to: 'stderr' });
  try {
    return await openCommandApp({ settings, shown: sources, version: packageVersion(), log });
  } catch (error) {
    if (error instanceof DataDirError && error.code === 'owned') return undefined;
    throw error;
  }
}

async function byThisProcess<N extends OperationName>(
  app: CommandApp,
  { name, request, run, bytes }: Order<N>,
): Promise<ResultOf<N>> {
  // Taken from the table by its name, the function is that of the name; the compiler does not follow that.
  const operation = app.operations[name] as (...each: unknown[]) => Promise<unknown>;
  try {
    const result = await operation(request, run, ...(bytes === undefined ? [] : [bytes()]));
    await app.finish();
    return result as ResultOf<N>;
  } finally {
    await app.stop();
  }
}
