import pino, { type Logger } from 'pino';
import { redactText } from '../lib/redact-text.ts';
import { LineBatches, type ByteSink } from './line-batches.ts';
import { shownError } from './shown-error.ts';

export type { Logger } from 'pino';

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
  if (isPretty) {
    const { default: pretty } = await import('pino-pretty');
    const { fd: destination } = process[to];
    return pino(base, pretty({ translateTime: 'SYS:HH:MM:ss.l', singleLine: true, sync: true, destination }));
  }
  // Lines are written as they come but not waited for: a slow reader of the log must not slow down pulls.
  const file = pino.destination({ dest: process[to].fd, sync: false, contentMode: 'buffer' });
  // Its types know of strings only.
  const lines = new LineBatches(file as unknown as ByteSink);
  process.once('exit', () => lines.flushSync());
  return pino(base, lines);
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
