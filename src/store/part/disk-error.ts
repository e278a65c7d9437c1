import type { Stats } from 'node:fs';
import { stat } from 'node:fs/promises';
import { errorCode } from '../../lib/errors.ts';
import { BlobStoreError } from '../blobs.ts';

const NO_ROOM: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

/** Whether the error says that there is no such file. Anything but a file counts as none. */
export function isMissing(error: unknown): boolean {
  const code = errorCode(error);
  return code === 'ENOENT' || code === 'not-a-file';
}

/** The system's error as BlobStoreError; `doing` names the failed action. */
export function diskError(error: unknown, doing: string): BlobStoreError {
  if (error instanceof BlobStoreError) return error;
  const code = errorCode(error);
  const kind = code !== undefined && NO_ROOM.has(code) ? 'no-space' : 'disk-failed';
  return new BlobStoreError(kind, `${doing} failed: ${code ?? String(error)}`, error);
}

/** Size and time of a blob's file. Undefined: there is none, or no regular file. Throws BlobStoreError. */
export async function fileState(path: string): Promise<Pick<Stats, 'size' | 'mtimeMs'> | undefined> {
  try {
    const file = await stat(path);
    return file.isFile() ? file : undefined;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw diskError(error, 'looking for a blob');
  }
}
