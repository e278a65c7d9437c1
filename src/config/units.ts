import { errorCode } from '../lib/errors.ts';

/** The text of a setting is malformed. The message is the end of a sentence. */
export class UnitError extends Error {
  override readonly name = 'UnitError';
  readonly code = 'unit-invalid';
}

const MAX_QUOTED_LENGTH = 80;

/** `text` in quotes for a message of one line, cut if it is long. */
export function quoted(text: string): string {
  return JSON.stringify(text.length > MAX_QUOTED_LENGTH ? `${text.slice(0, MAX_QUOTED_LENGTH)}…` : text);
}

/** Room on disk: bytes, or a share of 1 to 100 percent. */
export type Size = { readonly bytes: number } | { readonly percent: number };

const SIZE = /^(\d+(?:\.\d+)?) ?([kmgt]?i?b)?$/i;

/** Bytes per unit, the largest first. `kB` and the like are powers of 1000, `KiB` and the like of 1024 (IEC 80000-13). */
const SIZE_UNITS: readonly (readonly [unit: string, bytes: number])[] = [
  ['TiB', 2 ** 40],
  ['TB', 1e12],
  ['GiB', 2 ** 30],
  ['GB', 1e9],
  ['MiB', 2 ** 20],
  ['MB', 1e6],
  ['KiB', 2 ** 10],
  ['kB', 1e3],
  ['B', 1],
];

/** `50GB`, `1.5GiB`, a plain number of bytes, or `80%`. Throws UnitError. */
export function parseSize(text: string): Size {
  const percent = /^(\d{1,3}) ?%$/.exec(text)?.[1];
  if (percent !== undefined) {
    if (Number(percent) < 1 || Number(percent) > 100)
      throw new UnitError(`${quoted(text)} is not between 1% and 100%`);
    return { percent: Number(percent) };
  }
  const [, amount, unit = 'B'] = SIZE.exec(text) ?? [];
  const factor = SIZE_UNITS.find(([name]) => name.toLowerCase() === unit.toLowerCase())?.[1];
  if (amount === undefined || factor === undefined) throw new UnitError(`${quoted(text)} is not a size`);
  if (factor === 1 && amount.includes('.'))
    throw new UnitError(`${quoted(text)} is not a whole number of bytes`);
  const bytes = Math.round(Number(amount) * factor);
  if (!Number.isSafeInteger(bytes)) throw new UnitError(`${quoted(text)} is too large`);
  return { bytes };
}

/** The shortest text that `parseSize` reads as `size`, e.g. `1500MB`, `20GiB`, `80%`. */
export function formatSize(size: Size): string {
  if ('percent' in size) return `${size.percent}%`;
  if (size.bytes === 0) return '0B';
  const [unit, factor] = SIZE_UNITS.find(([, bytes]) => size.bytes % bytes === 0) ?? ['B', 1];
  return `${size.bytes / factor}${unit}`;
}

const DURATION = /^(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+)s)?(?:(\d+)ms)?$/;
const DURATION_UNITS: readonly (readonly [unit: string, ms: number])[] = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
  ['ms', 1],
];

/** What options for a point in time take. */
export const TIME_FORM = 'an age, such as 24h, or a time, such as 2026-11-20 or 2026-11-20T08:00Z';

/** `250ms`, `60s`, `1h30m`, `1d` as milliseconds. Throws UnitError. */
export function parseDuration(text: string): number {
  const match = DURATION.exec(text);
  if (match === null || text === '') throw new UnitError(`${quoted(text)} is not a duration`);
  const ms = DURATION_UNITS.reduce(
    (sum, [, unitMs], index) => sum + Number(match[index + 1] ?? 0) * unitMs,
    0,
  );
  if (!Number.isSafeInteger(ms)) throw new UnitError(`${quoted(text)} is too long`);
  return ms;
}

/** Milliseconds in the form of `parseDuration`, the largest unit first: `1m`, `1h30m`, `250ms`, `0s`. */
export function formatDuration(ms: number): string {
  let rest = ms;
  let text = '';
  for (const [unit, unitMs] of DURATION_UNITS) {
    const count = Math.floor(rest / unitMs);
    if (count > 0) text += `${count}${unit}`;
    rest -= count * unitMs;
  }
  return text === '' ? '0s' : text;
}

/** Throws UnitError. */
export function parseBoolean(text: string): boolean {
  switch (text.toLowerCase()) {
    case 'true':
    case 'yes':
    case '1':
      return true;
    case 'false':
    case 'no':
    case '0':
      return false;
    default:
      throw new UnitError(`${quoted(text)} is not true or false`);
  }
}

/** The settings are not valid. The message has a line for each problem and quotes no secret. */
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
