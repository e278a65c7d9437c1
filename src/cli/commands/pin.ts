import type { Flags } from '../../config/flags.ts';
import type { LoadedSettings } from '../../config/load.ts';
import { counted, humanBytes } from '../../lib/text.ts';
import type { ExitCode } from '../exit.ts';
import { forEachImage, runOperation } from '../operation.ts';
import { print } from '../print.ts';

/** Protects images from eviction. */
export function pin(loaded: LoadedSettings, _flags: Flags, names: readonly string[]): Promise<ExitCode> {
  return forEachImage(names, async (name) => {
    const { image } = await runOperation(loaded, { name: 'pin', request: { image: name } });
    print(`${image} is pinned\n`);
    return 0;
  });
}

export function unpin(loaded: LoadedSettings, _flags: Flags, names: readonly string[]): Promise<ExitCode> {
  return forEachImage(names, async (name) => {
    const { image, wasPinned } = await runOperation(loaded, { name: 'unpin', request: { image: name } });
    print(wasPinned ? `${image} is no longer pinned\n` : `${image} was not pinned\n`);
    return 0;
  });
}

/** Removes images, and their blobs that no other image has. */
export function remove(loaded: LoadedSettings, _flags: Flags, names: readonly string[]): Promise<ExitCode> {
  return forEachImage(names, async (name) => {
    const removed = await runOperation(loaded, { name: 'remove', request: { image: name } });
    const { image, manifests, blobs, bytes } = removed;
    const what = `${counted(manifests, 'manifest')} and ${counted(blobs, 'blob')}, ${humanBytes(bytes)}`;
    print(`${image} is removed (${what})\n`);
    return 0;
  });
}
