import { redactText } from '../lib/redact-text.ts';

/** Causes of causes. */
const MAX_DEPTH = 5;

/** What the log says of an error. */
export interface ShownError {
  readonly type: string;
  readonly message: string;
  readonly code?: string;
  readonly stack?: string;
  readonly cause?: unknown;
}

/**
 * What of an error may go into the log. Libraries hang what they had in hand on their errors, such as the command that
 * Redis refused with its arguments, `AUTH` among them: so fields are let through by name and no other is.
 */
export function shownError(error: unknown, depth = 0): unknown {
  if (!(error instanceof Error)) return redactText(String(error));
  const { name, message, stack, cause } = error;
  const shown: ShownError = {
    type: name,
    message: redactText(message),
    ...('code' in error ? { code: redactText(String(error.code)) } : {}),
    ...(stack === undefined ? {} : { stack: redactText(stack) }),
    ...(cause === undefined || depth >= MAX_DEPTH ? {} : { cause: shownError(cause, depth + 1) }),
  };
  return shown;
}
