import { OperationError } from '../pull/operations.ts';

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
