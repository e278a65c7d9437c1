import pino, { type Logger } from 'pino';
export type { Logger } from 'pino';
import { withinMs } from '../lib/promises.ts';
import { redactText } from '../lib/text.ts';
import { LineBatches, LAST_WAIT_MS, LogFile } from './log-file.ts';

/** Most nested causes. */
const MAX_DEPTH = 5;

/**
 * The fields of an error that may go into the log. Libraries add fields with secrets: ioredis adds the refused command
 * with its arguments, also of `AUTH`. So only the named fields pass.
 */
export function shownError(error: unknown, depth = 0): unknown {
  if (!(error instanceof Error)) return redactText(String(error));
  const { name, message, stack, cause } = error;
  return {
    type: name,
    message: redactText(message),
    ...('code' in error ? { code: redactText(String(error.code)) } : {}),
    ...(stack === undefined ? {} : { stack: redactText(stack) }),
    ...(cause === undefined || depth >= MAX_DEPTH ? {} : { cause: shownError(cause, depth + 1) }),
  };
}

/** Lines that wait for the writer: about 50,000 requests. */
const MAX_WAITING_BYTES = 16 * 1024 * 1024;

/** Fields with texts of libraries and upstreams. */
export const LOG_SERIALIZERS = {
  err: (error: unknown) => (error === undefined ? undefined : shownError(error)),
  reason: (reason: unknown) => (typeof reason === 'string' ? redactText(reason) : undefined),
};

interface LogOptions {
  readonly level: string;
  /** `auto`: readable on a terminal, JSON elsewhere. */
  readonly format: 'auto' | 'json' | 'pretty';
  /** Default `stdout`. */
  readonly to?: 'stdout' | 'stderr' | undefined;
}

/** The log: one JSON object a line, or readable lines. */
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

/** Resolves when all lines so far are written, at the latest after one second. */
export async function written(log: Logger): Promise<void> {
  const flushed = new Promise<void>((resolve) => {
    log.flush(() => resolve());
  });
  await withinMs(flushed, LAST_WAIT_MS);
}

/** Returns a function that makes a JSON line readable. */
async function readable(): Promise<(line: string) => string> {
  const { prettyFactory } = await import('pino-pretty');
  const format = prettyFactory({ translateTime: 'SYS:HH:MM:ss.l', singleLine: true });
  return (line) => format(line);
}

/** The time in the form of pino. It is formatted once for all lines of a millisecond. */
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
