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
import { exitCodeOf, packageVersion, worstOf, type ExitCode } from './exit.ts';
import { printAside } from './print.ts';

type Ending = 'SIGTERM' | 'SIGINT';
const ENDING: readonly Ending[] = ['SIGTERM', 'SIGINT'];
/**
 * Signals that a server ignores. By default, SIGHUP and SIGUSR2 would end the process. SIGUSR1 would open Node's debugger,
 * with which other users of the machine could control the process.
 */
const IGNORED = ['SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const;

/**
 * Listens for signals from its construction on. Construct early: the first process of a container gets only the signals that
 * it listens for.
 */
export class ServerSignals {
  /** Resolves to the signal that asks the server to end. */
  readonly ending = endingSignal();
  /** Called for ignored signals. */
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

/** Runs `work` with a signal that SIGINT and SIGTERM abort. A second signal of the same kind ends the process. */
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

/** A stopping server waits 30 s for running answers, so a command waits longer. */
const MAX_WAIT_MS = 40_000;
const RETRY_MS = 200;

/**
 * Runs an operation in the process that owns the data directory. Without such a process, this process owns it until the
 * operation ends. SIGINT and SIGTERM stop the operation; a second one ends the process. Throws OperationError, DataDirError.
 */
export async function runOperation<N extends OperationName>(
  loaded: LoadedSettings,
  operation: {
    readonly name: N;
    readonly request: RequestOf<N>;
    readonly onEvent?: (event: EventOf<N>) => void;
    /** The input of an `IntakeOperation`; called when the owner is ready to read. */
    readonly bytes?: () => AsyncIterable<Buffer>;
  },
): Promise<ResultOf<N>> {
  const { onEvent = () => undefined } = operation;
  return untilSignal((signal) => byOwner(loaded, { ...operation, run: { signal, onEvent } }));
}

/** Runs `work` for one image after the other, and goes on after a failure. Returns the worst exit code. */
export async function forEachImage(
  images: readonly string[],
  work: (image: string) => Promise<ExitCode>,
): Promise<ExitCode> {
  const codes: ExitCode[] = [0];
  for (const image of images) {
    try {
      codes.push(await work(image));
    } catch (error) {
      if (!(error instanceof OperationError) || error.code === 'stopped') throw error;
      printAside(`pierhead: ${error.message}\n`);
      codes.push(exitCodeOf(error));
    }
  }
  return worstOf(codes);
}

/** Whether the data directory holds data; prints a message if it is empty. Throws OperationError, DataDirError. */
export async function hasData(dataDir: string): Promise<boolean> {
  const hasAny = (await ownState(dataDir)) === 'data';
  if (!hasAny) printAside(`pierhead: the data directory ${dataDir} is empty\n`);
  return hasAny;
}

/** Throws OperationError for a folder with files of other programs, and DataDirError. */
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
      const app = await ownHere(loaded);
      if (app !== undefined) return byThisProcess(app, order);
    }
    if (performance.now() > giveUpAt) {
      const what = `the data directory ${dataDir} is in use by a server that does not stop`;
      throw new OperationError('failed', `${what}; stop the server, or try again later`);
    }
    await delay(RETRY_MS, undefined, { signal: order.run.signal }).catch(() =>
      order.run.signal.throwIfAborted(),
    );
  }
}

/** Undefined: another process has become the owner of the data directory meanwhile. */
async function ownHere({ settings, sources }: LoadedSettings): Promise<CommandApp | undefined> {
  // As with `serve`, new files in the data directory are for their owner only.
  process.umask(0o077);
  // The command prints its result itself; only faults are logged.
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
  // The compiler cannot connect the type of the function with `name`.
  const operation = app.operations[name] as (...each: unknown[]) => Promise<unknown>;
  try {
    const result = await operation(request, run, ...(bytes === undefined ? [] : [bytes()]));
    await app.finish();
    return result as ResultOf<N>;
  } finally {
    await app.stop();
  }
}
