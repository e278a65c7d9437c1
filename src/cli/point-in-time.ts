import { parseDuration, quoted, UnitError } from '../config/units.ts';
import { OperationError } from '../pull/operations.ts';

export const TIME_FORM = 'so long ago, such as 24h, or a time, such as 2026-11-20 or 2026-11-20T08:00Z';

/** ISO 8601 as far as people write it; a date alone is its beginning, by the clock of this machine. */
const TIME = /^\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?(?:\.\d{1,3})?(?:Z|[+-]\d\d:\d\d)?)?$/;

/** Ms since the epoch. Throws OperationError `usage`, which names the `flag`. */
export function parsePointInTime(flag: string, text: string, nowMs: number): number {
  const at = TIME.test(text) ? Date.parse(text.length === 10 ? `${text}T00:00` : text) : Number.NaN;
  if (!Number.isNaN(at)) return at;
  try {
    return nowMs - parseDuration(text);
  } catch (error) {
    if (!(error instanceof UnitError)) throw error;
    throw new OperationError('usage', `${flag}: ${quoted(text)} is not a time; allowed: ${TIME_FORM}`, error);
  }
}
