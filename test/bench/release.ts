import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { CommandContext } from './command.ts';
import { lastRelease } from './machine.ts';
import type { ComparisonOptions } from './options.ts';

const run = promisify(execFile);

interface ReleaseOptions {
  /** The checkout that has it in its history. */
  readonly root: string;
  /** A tag, a branch or a commit. */
  readonly ref: string;
  /** It is built here. */
  readonly folder: string;
}

/** Unpacks another state of the project and builds it. Throws if git does not know it or it cannot be built. */
async function buildRelease({ root, ref, folder }: ReleaseOptions): Promise<void> {
  await mkdir(folder, { recursive: true });
  // An archive and not a worktree: a run that is broken off leaves nothing behind in the checkout.
  const script =
    'set -e; git -C "$0" archive --output="$2/tree.tar" "$1"; tar -xf "$2/tree.tar" -C "$2"; rm "$2/tree.tar"';
  await run('/bin/sh', ['-c', script, root, ref, folder]);
  await run('npm', ['ci', '--no-audit', '--no-fund'], { cwd: folder });
  await run('npm', ['run', 'build'], { cwd: folder });
}

/** Another state of the project, built. */
export interface Release {
  /** As it was asked for. */
  readonly name: string;
  /** A checkout, which holds `dist/main.js`. */
  readonly root: string;
}

/** The one that the options ask for; undefined: none. */
export async function builtRelease(
  { against, isComplete }: ComparisonOptions,
  { root, say }: CommandContext,
  folder: string,
): Promise<Release | undefined> {
  if (against === false) return undefined;
  const ref = against ?? (isComplete ? lastRelease(root) : undefined);
  if (ref === undefined) return undefined;
  const built = join(folder, 'release');
  say(`building ${ref}: npm ci and npm run build, in ${built}`);
  await buildRelease({ root, ref, folder: built });
  return { name: ref.replaceAll('/', '-'), root: built };
}
