import { readFileSync } from 'node:fs';
import { SettingsError } from '../config/units.ts';
import { ListError } from '../image-files/needed.ts';
import { FileError, StartError } from '../lib/errors.ts';
import { redactText } from '../lib/text.ts';
import { OperationError } from '../operations/protocol.ts';
import { DataDirError } from '../store/data-dir.ts';

/** Exit codes of all commands, and what each means. */
export const EXIT_CODES = {
  0: 'done',
  1: 'failed, or found something',
  2: 'wrong arguments or settings; a data directory of other files, of a running server, of another user (for root) or of another version; an old Node',
} as const;

export type ExitCode = keyof typeof EXIT_CODES;

/** The message of an error, for people, without secrets. */
export function messageOf(error: unknown): string {
  return redactText(error instanceof Error ? error.message : String(error));
}

/** Whether the message of an error is enough for a user. Other errors are faults of the program. */
export function isForPeople(error: unknown): boolean {
  return [SettingsError, ListError, FileError, OperationError, DataDirError, StartError].some(
    (type) => error instanceof type,
  );
}

/** The exit code of a failed command: 2 for wrong arguments, settings or versions, else 1. */
export function exitCodeOf(error: unknown): ExitCode {
  const isWrongInput =
    error instanceof SettingsError || error instanceof ListError || error instanceof FileError;
  if (isWrongInput) return 2;
  if (error instanceof OperationError) return error.code === 'usage' || error.code === 'protocol' ? 2 : 1;
  return error instanceof DataDirError && error.code !== 'unusable' ? 2 : 1;
}

export function worstOf(codes: readonly ExitCode[]): ExitCode {
  return Math.max(0, ...codes) as ExitCode;
}

/** The version in package.json, which is beside `src` and `dist`. */
export function packageVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  const parsed: unknown = JSON.parse(text);
  return typeof parsed === 'object' && parsed !== null && 'version' in parsed
    ? String(parsed.version)
    : 'unknown';
}
