import type { OperationRun } from '../../src/operations/protocol.ts';

/** The run of an operation that nobody watches and nobody ends. */
export function unwatchedRun(): OperationRun<unknown> {
  return { signal: new AbortController().signal, onEvent: () => undefined };
}
