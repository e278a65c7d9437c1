import { errorCode } from '../lib/error-code.ts';

/** The settings cannot be used. The message has a line for each problem and quotes no secret. */
export class SettingsError extends Error {
  override readonly name = 'SettingsError';
  readonly code = 'settings-invalid';
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
    this.problems = problems;
  }
}

/** Why a file could not be read, by its errno: `ENOENT`. */
export function readFailure(error: unknown): string {
  return errorCode(error) ?? 'unreadable';
}
