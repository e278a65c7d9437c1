import { mkdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { run } from './commands.ts';
import { testFolder } from './temp.ts';

/** A data directory on a file system of its own. Needs the rights of root. */
export interface SmallDisk {
  readonly dataDir: string;
  /** From now on nothing can be written, or again it can. */
  remount(mode: 'ro' | 'rw'): Promise<void>;
}

/** `index`: whether the index is on that file system too. */
export async function smallDisk(
  bytes: number,
  { index: where }: { readonly index: 'elsewhere' | 'inside' } = { index: 'elsewhere' },
): Promise<SmallDisk> {
  const folder = await testFolder();
  const dataDir = join(folder, 'disk');
  const index = join(folder, 'index');
  await mkdir(dataDir);
  await mkdir(index);
  await run({ program: 'mount', args: ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', dataDir] });
  onTestFinished(async () => {
    await run({ program: 'umount', args: ['--lazy', dataDir] });
  });
  if (where === 'elsewhere') await symlink(index, join(dataDir, 'index'));
  return {
    dataDir,
    remount: async (mode) => {
      await run({ program: 'mount', args: ['-o', `remount,${mode}`, dataDir] });
    },
  };
}
