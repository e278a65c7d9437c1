import type { Flags } from '../../config/flags.ts';
import type { LoadedSettings } from '../../config/load.ts';
import { OperationError, type ResultOf } from '../../operations/protocol.ts';
import { exitCodeOf, type ExitCode } from '../exit.ts';
import { runOperation } from '../operation.ts';
import { print, printAside } from '../print.ts';

/** Has tags checked now, one after the other. What could not be checked makes it fail. */
export async function refresh(
  loaded: LoadedSettings,
  _flags: Flags,
  names: readonly string[],
): Promise<ExitCode> {
  let worst: ExitCode = 0;
  for (const image of names) {
    try {
      const request = { name: 'refresh', request: { image }, onEvent: () => undefined } as const;
      const refreshed = await runOperation(loaded, request);
      print(`${sentence(refreshed)}\n`);
      if (refreshed.result === 'unchecked') worst = Math.max(worst, 1) as ExitCode;
    } catch (error) {
      if (!(error instanceof OperationError) || error.code === 'stopped') throw error;
      printAside(`pierhead: ${error.message}\n`);
      worst = Math.max(worst, exitCodeOf(error)) as ExitCode;
    }
  }
  return worst;
}

function sentence(refreshed: ResultOf<'refresh'>): string {
  const { image } = refreshed;
  switch (refreshed.result) {
    case 'unchanged':
      return `${image} is unchanged: ${refreshed.digest}`;
    case 'moved':
      return `${image} has moved from ${refreshed.from} to ${refreshed.to}`;
    case 'gone':
      return refreshed.digest === undefined
        ? `${image} is gone: ${refreshed.reason}`
        : `${image} is gone (${refreshed.reason}) and kept all the same: ${refreshed.digest}`;
    case 'unchecked':
      return `${image} could not be checked: ${refreshed.reason}; it stays ${refreshed.digest}`;
  }
}
