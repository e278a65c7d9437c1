import { getSystemErrorMap } from 'node:util';

/** The code of an error of the system or of Node, such as `ENOENT`; undefined: it has none, or is no error. */
export function errorCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

/** What an error says; of anything else that was thrown, its text. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** A file that a setting names holds something else than it should. The message quotes nothing of it. */
export class FileError extends Error {
  override readonly name = 'FileError';
  readonly code = 'file-invalid';
}

/** The machine does not give what the server, or a command, needs to start. The message says what, by which setting, and what to do. */
export class StartError extends Error {
  override readonly name = 'StartError';
  readonly code = 'cannot-start';
}

/**
 * Why the system refused, without the path that it names: `no space left on device (ENOSPC)`. That path is often a
 * temporary one, and the caller names the file that people know.
 */
export function systemReason(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const known =
    'errno' in error && typeof error.errno === 'number' ? getSystemErrorMap().get(error.errno) : undefined;
  if (known === undefined) return error.message;
  const [code, text] = known;
  return `${text} (${code})`;
}
