import { OperationError } from '../pull/operations.ts';

/** Runs `work` with a signal that SIGINT and SIGTERM give; a second one of the same kind ends the process. */
export async function untilSignal<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const ending = new AbortController();
  const end = (): void => ending.abort(new OperationError('stopped', 'interrupted'));
  const signals = ['SIGINT', 'SIGTERM'] as const;
  for (const name of signals) process.once(name, end);
  try {
    return await work(ending.signal);
  } finally {
    for (const name of signals) process.off(name, end);
  }
}
