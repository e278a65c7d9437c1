import type { Stats } from 'node:fs';
import { stat } from 'node:fs/promises';
import { errorCode } from '../../lib/error-code.ts';
import { diskError } from './disk-error.ts';

/** Of a blob's file. Undefined: there is none, or something else is in its place. Throws BlobStoreError. */
export async function fileState(path: string): Promise<Pick<Stats, 'size' | 'mtimeMs'> | undefined> {
  try {
    const file = await stat(path);
    return file.isFile() ? file : undefined;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw diskError(error, 'looking for a blob');
  }
}
