import type { Flags } from '../../config/flags.ts';
import type { LoadedSettings } from '../../config/load.ts';
import { counted, humanBytes } from '../../lib/text.ts';
import { OperationError, type OperationName, type ResultOf } from '../../operations/protocol.ts';
import { exitCodeOf, type ExitCode } from '../exit.ts';
import { runOperation } from '../operation.ts';
import { print, printAside } from '../print.ts';

/** Keeps images from eviction. */
export function pin(loaded: LoadedSettings, _flags: Flags, names: readonly string[]): Promise<ExitCode> {
  return each(loaded, 'pin', names, ({ image }) => `${image} is pinned`);
}

export function unpin(loaded: LoadedSettings, _flags: Flags, names: readonly string[]): Promise<ExitCode> {
  return each(loaded, 'unpin', names, ({ image, wasPinned }) =>
    wasPinned ? `${image} is no longer pinned` : `${image} was not pinned`,
  );
}

/** Removes images, and what nothing else needs of them. */
export function remove(loaded: LoadedSettings, _flags: Flags, names: readonly string[]): Promise<ExitCode> {
  return each(loaded, 'remove', names, ({ image, manifests, blobs, bytes }) => {
    const what = `${counted(manifests, 'manifest')} and ${counted(blobs, 'blob')}, ${humanBytes(bytes)}`;
    return `${image} is removed (${what})`;
  });
}

/** One after the other, whatever becomes of the ones before; the exit code is that of the worst. */
async function each<N extends Exclude<OperationName, 'verify'>>(
  loaded: LoadedSettings,
  name: N,
  images: readonly string[],
  told: (result: ResultOf<N>) => string,
): Promise<ExitCode> {
  let worst: ExitCode = 0;
  for (const image of images) {
    try {
      const result = await runOperation<OperationName>(loaded, {
        name,
        request: { image },
        onEvent: () => undefined,
      });
      print(`${told(result as ResultOf<N>)}\n`);
    } catch (error) {
      if (!(error instanceof OperationError) || error.code === 'stopped') throw error;
      printAside(`pierhead: ${error.message}\n`);
      worst = Math.max(worst, exitCodeOf(error)) as ExitCode;
    }
  }
  return worst;
}
