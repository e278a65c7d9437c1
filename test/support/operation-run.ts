import type { OperationRun } from '../../src/pull/operations.ts';

/** The run of an operation that nobody watches and nobody ends. */
export function unwatchedRun(): OperationRun<unknown> {
  return { signal: new AbortController().signal, onEvent: () => undefined };
}
