import pino, { type Logger } from 'pino';
import pretty from 'pino-pretty';

export type { Logger } from 'pino';

export interface LogOptions {
  readonly level: string;
  /** `auto`: readable on a terminal, JSON elsewhere. */
  readonly format: 'auto' | 'json' | 'pretty';
}

/** The program's log, on standard output: one JSON object a line, or readable lines. */
export function createLog(options: LogOptions): Logger {
  const isPretty = options.format === 'pretty' || (options.format === 'auto' && process.stdout.isTTY);
  const base = { level: options.level, base: null, timestamp: pino.stdTimeFunctions.isoTime };
  if (isPretty) return pino(base, pretty({ translateTime: 'SYS:HH:MM:ss.l', sync: true }));
  // Lines are written as they come but not waited for: a slow reader of the log must not slow down pulls.
  return pino(base, pino.destination({ dest: 1, sync: false, minLength: 0 }));
}
