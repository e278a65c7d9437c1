import { rename, rm, writeFile } from 'node:fs/promises';
import { thisBoot } from '../../lib/clock.ts';
import type { Extent } from '../../lib/extents.ts';
import { readRegularFile } from '../../lib/files.ts';
import { parseDigest, type Digest } from '../../oci/digest.ts';
import { parseObject } from '../codec.ts';
import { FILE_MODE } from '../owner-only.ts';
import { journalPath } from './layout.ts';

/** What is known of a part file. Bytes outside of `written` mean nothing. */
export interface PartNote {
  readonly digest: Digest;
  /** Of the whole blob; undefined if nobody had told. */
  readonly size: number | undefined;
  readonly written: readonly Extent[];
  /** Whether `written` is on the disk itself. If not, it outlives this process but not this run of the machine. */
  readonly isSynced: boolean;
}

/**
 * Replaces the journal of a part in one step: whoever reads it finds the old note or the new one. Throws the system's
 * error, and leaves the old note alone then.
 */
export async function writeJournal(partPath: string, note: PartNote): Promise<void> {
  const path = journalPath(partPath);
  const next = `${path}.next`;
  // Made anew, so that nothing is written through a link.
  await rm(next, { force: true });
  try {
    await writeFile(next, JSON.stringify({ ...note, boot: thisBoot() }), { flag: 'wx', mode: FILE_MODE });
    await rename(next, path);
  } catch (error) {
    // A full disk takes the file and not its bytes, and nobody who removes the part knows of it.
    await rm(next, { force: true }).catch(() => undefined);
    throw error;
  }
}

/** The note on a part, if there is one that can be relied on. */
export async function readJournal(partPath: string): Promise<PartNote | undefined> {
  const text = await readRegularFile(journalPath(partPath)).catch(() => '');
  const { digest, size, written, isSynced, boot } = parseObject(text) ?? {};
  const known = typeof digest === 'string' ? parseDigest(digest) : undefined;
  if (known === undefined || !Array.isArray(written) || !written.every(isExtent)) return undefined;
  // What was not synced may be lost with the machine, and its file then holds zeros or old bytes in its place.
  if (isSynced !== true && (boot === undefined || boot !== thisBoot())) return undefined;
  return {
    digest: known,
    size: typeof size === 'number' ? size : undefined,
    written,
    isSynced: isSynced === true,
  };
}

export async function removeJournal(partPath: string): Promise<void> {
  await rm(journalPath(partPath), { force: true });
}

/** Removes a part and its journal. What the disk does not let go now is removed at the next start. */
export async function removePart(partPath: string): Promise<void> {
  await rm(partPath, { force: true }).catch(() => undefined);
  await removeJournal(partPath).catch(() => undefined);
}

function isExtent(value: unknown): value is Extent {
  if (typeof value !== 'object' || value === null) return false;
  const { start, end } = value as Record<string, unknown>;
  return (
    Number.isSafeInteger(start) &&
    Number.isSafeInteger(end) &&
    Number(start) >= 0 &&
    Number(start) < Number(end)
  );
}
