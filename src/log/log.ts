import pino, { type Logger } from 'pino';
export type { Logger } from 'pino';
import { withinMs } from '../lib/promises.ts';
import { redactText } from '../lib/text.ts';
import { LineBatches, LAST_WAIT_MS, LogFile } from './log-file.ts';

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

/** Of lines that cannot be written yet: some 50,000 requests. */
const MAX_WAITING_BYTES = 16 * 1024 * 1024;

/** How fields are written that hold what libraries and upstreams say. */
export const LOG_SERIALIZERS = {
  err: (error: unknown) => (error === undefined ? undefined : shownError(error)),
  reason: (reason: unknown) => (typeof reason === 'string' ? redactText(reason) : undefined),
};

export interface LogOptions {
  readonly level: string;
  /** `auto`: readable on a terminal, JSON elsewhere. */
  readonly format: 'auto' | 'json' | 'pretty';
  /** Default `stdout`. */
  readonly to?: 'stdout' | 'stderr';
}

/** The program's log: one JSON object a line, or readable lines. */
export async function createLog(options: LogOptions): Promise<Logger> {
  const { to = 'stdout' } = options;
  const isPretty = options.format === 'pretty' || (options.format === 'auto' && process[to].isTTY);
  const base = {
    level: options.level,
    base: null,
    timestamp: isoTime(),
    serializers: LOG_SERIALIZERS,
  };
  const file = new LogFile({
    fd: process[to].fd,
    maxWaitingBytes: MAX_WAITING_BYTES,
    onGap: (missing) => log.warn({ missing }, 'log lines lost'),
  });
  const lines = new LineBatches(file);
  process.once('exit', () => lines.flushSync());
  const shown = isPretty ? await readable() : undefined;
  const forPeople = shown && {
    write: (line: string) => lines.write(shown(line)),
    flush: (done: () => void) => lines.flush(done),
  };
  const log = pino(base, forPeople ?? lines);
  return log;
}

/** Resolves when all lines so far are written, or cannot be within a second. */
export async function written(log: Logger): Promise<void> {
  const flushed = new Promise<void>((resolve) => {
    log.flush(() => resolve());
  });
  await withinMs(flushed, LAST_WAIT_MS);
}

/** Turns a line of JSON into one for people. */
async function readable(): Promise<(line: string) => string> {
  const { prettyFactory } = await import('pino-pretty');
  const format = prettyFactory({ translateTime: 'SYS:HH:MM:ss.l', singleLine: true });
  return (line) => format(line);
}

/** As pino writes it, spelt once for all lines of a millisecond. */
function isoTime(): () => string {
  let at = 0;
  let text = '';
  return () => {
    const now = Date.now();
    if (now !== at) text = `,"time":"${new Date(now).toISOString()}"`;
    at = now;
    return text;
  };
}
