import { readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { errorCode } from '../../lib/error-code.ts';
import { IndexError } from './environment.ts';
import { inspectIndex } from './inspection.ts';

/** Damaged indexes that are left for people to look at: they take room that nothing counts. */
const MAX_KEPT = 2;

export interface DamagedIndex {
  /** What was damaged. */
  readonly reason: string;
  /** Where it is now. */
  readonly keptAs: string;
}

/**
 * Moves an index that LMDB must not open to `<path>.damaged-<when>`, so that a new one can be made in its place; only the
 * last few of these are kept. Undefined: there was none to be moved. For the owner of the data directory. Throws
 * IndexError.
 */
export async function setDamagedAside(path: string, now: number): Promise<DamagedIndex | undefined> {
  const reason = await inspectIndex(path, 'owner');
  if (reason === undefined) return undefined;
  const keptAs = await moveAway(path, `${path}.damaged-${timeInName(now)}`).catch((cause: unknown) => {
    const why = errorCode(cause) ?? String(cause);
    throw new IndexError(
      `the index at ${path} is damaged (${reason}) and cannot be moved away: ${why}; move or delete it`,
      { cause },
    );
  });
  await removeOld(path);
  return { reason, keptAs };
}

/** Two starts within a second must not put one over the other. */
async function moveAway(path: string, name: string): Promise<string> {
  const taken = new Set(await readdir(dirname(path)));
  let target = name;
  for (let again = 2; taken.has(basename(target)); again++) target = `${name}-${again}`;
  await rename(path, target);
  return target;
}

/** Their names are in the order of their times. */
async function removeOld(path: string): Promise<void> {
  const folder = dirname(path);
  const first = `${basename(path)}.damaged-`;
  const damaged = (await readdir(folder)).filter((name) => name.startsWith(first)).sort();
  for (const name of damaged.slice(0, -MAX_KEPT)) {
    await rm(join(folder, name), { recursive: true, force: true }).catch(() => undefined);
  }
}

/** `2026-11-30T20-40-00Z`: with colons it could not be copied everywhere. */
function timeInName(now: number): string {
  return `${new Date(now).toISOString().slice(0, 19).replaceAll(':', '-')}Z`;
}
