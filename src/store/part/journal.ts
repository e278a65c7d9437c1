import { rename, rm, writeFile } from 'node:fs/promises';
import { thisBoot } from '../../lib/clock.ts';
import type { Extent } from '../../lib/extents.ts';
import { readRegularFile } from '../../lib/files.ts';
import { parseDigest, type Digest } from '../../oci/digest.ts';
import { parseObject } from '../codec.ts';
import { FILE_MODE } from '../owner-only.ts';
import { journalPath } from './layout.ts';

/** The journal of a part file. Bytes outside of `written` are undefined. */
export interface PartNote {
  readonly digest: Digest;
  /** Size of the blob in bytes; undefined if unknown. */
  readonly size: number | undefined;
  readonly written: readonly Extent[];
  /** Whether `written` was synced to the disk. If not, it survives a crash of the process, but not of the machine. */
  readonly isSynced: boolean;
}

/**
 * Replaces the journal of a part by a rename: a reader finds the old note or the new one. Throws the system's error;
 * then the old note stays.
 */
export async function writeJournal(partPath: string, note: PartNote): Promise<void> {
  const path = journalPath(partPath);
  const next = `${path}.next`;
  // Removed first, so that the write does not follow a link.
  await rm(next, { force: true });
  try {
    await writeFile(next, JSON.stringify({ ...note, boot: thisBoot() }), { flag: 'wx', mode: FILE_MODE });
    await rename(next, path);
  } catch (error) {
    // On a full disk the file exists without its bytes, and `removePart` would not remove it.
    await rm(next, { force: true }).catch(() => undefined);
    throw error;
  }
}

/** The note on a part; undefined if there is no reliable one. */
export async function readJournal(partPath: string): Promise<PartNote | undefined> {
  const text = await readRegularFile(journalPath(partPath)).catch(() => '');
  const { digest, size, written, isSynced, boot } = parseObject(text) ?? {};
  const known = typeof digest === 'string' ? parseDigest(digest) : undefined;
  if (known === undefined || !Array.isArray(written) || !written.every(isExtent)) return undefined;
  // After a crash of the machine, bytes that were not synced can be zeros or old bytes.
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

/** Removes a part and its journal. If the disk fails, the next start removes them. */
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
