import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface ReleaseOptions {
  /** The checkout that has it in its history. */
  readonly root: string;
  /** A tag, a branch or a commit. */
  readonly ref: string;
  /** It is built here. */
  readonly folder: string;
}

/** Unpacks another state of the project and builds it. Throws if git does not know it or it cannot be built. */
export async function buildRelease({ root, ref, folder }: ReleaseOptions): Promise<void> {
  await mkdir(folder, { recursive: true });
  // An archive and not a worktree: a run that is broken off leaves nothing behind in the checkout.
  const script =
    'set -e; git -C "$0" archive --output="$2/tree.tar" "$1"; tar -xf "$2/tree.tar" -C "$2"; rm "$2/tree.tar"';
  await run('/bin/sh', ['-c', script, root, ref, folder]);
  await run('npm', ['ci', '--no-audit', '--no-fund'], { cwd: folder });
  await run('npm', ['run', 'build'], { cwd: folder });
}
