import { getSystemErrorMap } from 'node:util';

/** The code of an error of the system or of Node, such as `ENOENT`; undefined: it has none, or is no error. */
export function errorCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

/** The message of an error; of another thrown value, its text. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The file that a setting names has unexpected content. The message quotes nothing of the file. */
export class FileError extends Error {
  override readonly name = 'FileError';
  readonly code = 'file-invalid';
}

/** The server or a command cannot start on this machine. The message names the cause, the setting and the remedy. */
export class StartError extends Error {
  override readonly name = 'StartError';
  readonly code = 'cannot-start';
}

/**
 * The reason of a system error without its path: `no space left on device (ENOSPC)`. That path is often a temporary
 * one; the caller names the file that users know.
 */
export function systemReason(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const known =
    'errno' in error && typeof error.errno === 'number' ? getSystemErrorMap().get(error.errno) : undefined;
  if (known === undefined) return error.message;
  const [code, text] = known;
  return `${text} (${code})`;
}
