import type { Flags } from '../../config/flags.ts';
import type { LoadedSettings } from '../../config/load.ts';
import type { ResultOf } from '../../operations/protocol.ts';
import type { ExitCode } from '../exit.ts';
import { forEachImage, runOperation } from '../operation.ts';
import { print } from '../print.ts';

/** Checks tags one after the other. Exit code 1: a tag could not be checked. */
export function refresh(loaded: LoadedSettings, _flags: Flags, names: readonly string[]): Promise<ExitCode> {
  return forEachImage(names, async (image) => {
    const refreshed = await runOperation(loaded, { name: 'refresh', request: { image } });
    print(`${sentence(refreshed)}\n`);
    return refreshed.result === 'unchecked' ? 1 : 0;
  });
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
        : `${image} is gone (${refreshed.reason}); the cached image stays: ${refreshed.digest}`;
    case 'unchecked':
      return `${image} could not be checked: ${refreshed.reason}; the cached image stays: ${refreshed.digest}`;
  }
}
