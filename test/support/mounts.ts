import { readFile } from 'node:fs/promises';
import { run } from './commands.ts';

/** Unmounts whatever is mounted in a folder or below it, the innermost first, so that it can be removed. */
export async function unmountBelow(folder: string): Promise<void> {
  const mounts = await readFile('/proc/self/mounts', 'utf8');
  // The second field of a line; a space in a path is written \040 (proc(5)), and these paths have none.
  const paths = mounts.split('\n').map((line) => line.split(' ')[1] ?? '');
  const inside = paths.filter((path) => path === folder || path.startsWith(`${folder}/`));
  for (const path of inside.toReversed()) await run({ program: 'umount', args: ['--lazy', path] });
}
