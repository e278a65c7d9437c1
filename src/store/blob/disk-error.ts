import { errorCode } from '../../lib/error-code.ts';
import { BlobStoreError } from '../blob-store.ts';

const NO_ROOM: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

/** Whether it says that there is no such file; what is something else than a file is none. */
export function isMissing(error: unknown): boolean {
  const code = errorCode(error);
  return code === 'ENOENT' || code === 'not-a-file';
}

/** What the disk said, as a domain error; `doing` names what was tried. */
export function diskError(error: unknown, doing: string): BlobStoreError {
  if (error instanceof BlobStoreError) return error;
  const code = errorCode(error);
  const kind = code !== undefined && NO_ROOM.has(code) ? 'no-space' : 'disk-failed';
  return new BlobStoreError(kind, `${doing} failed: ${code ?? String(error)}`, error);
}
