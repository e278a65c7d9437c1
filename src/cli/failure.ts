import { ListError } from '../bundle/list-error.ts';
import { SettingsError } from '../config/errors.ts';
import { FileError } from '../lib/file-error.ts';
import { redactText } from '../lib/redact-text.ts';
import { StartError } from '../lib/start-error.ts';
import { OperationError } from '../pull/operations.ts';
import { DataDirError } from '../store/data-dir.ts';
import type { ExitCode } from './serve.ts';

/** What is wrong, for people. */
export function messageOf(error: unknown): string {
  return redactText(error instanceof Error ? error.message : String(error));
}

/** Whether an error says all that a user needs. Any other one is a fault of the program. */
export function isForPeople(error: unknown): boolean {
  return [SettingsError, ListError, FileError, OperationError, DataDirError, StartError].some(
    (type) => error instanceof type,
  );
}

/** What a command that failed ends with: 2 if its words, its settings or its version are wrong, else 1. */
export function exitCodeOf(error: unknown): ExitCode {
  const isWrongInput =
    error instanceof SettingsError || error instanceof ListError || error instanceof FileError;
  if (isWrongInput) return 2;
  if (error instanceof OperationError) return error.code === 'usage' || error.code === 'protocol' ? 2 : 1;
  return error instanceof DataDirError && error.code !== 'unusable' ? 2 : 1;
}
