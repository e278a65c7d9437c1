import { quoted, UnitError } from './units.ts';

/** A limit for a time of day, or for the whole day. */
export interface DailyLimit {
  /** Minutes since midnight, without the end. An end before the start is on the next day. */
  readonly between?: { readonly start: number; readonly end: number };
  readonly bytesPerSecond: number | undefined;
}

/** The first of `limits` that holds at `nowMs`, by the clock and time zone of this machine. Undefined: no limit. */
export function limitAt(limits: readonly DailyLimit[], nowMs: number): number | undefined {
  const now = new Date(nowMs);
  const minute = now.getHours() * 60 + now.getMinutes();
  return limits.find(({ between }) => between === undefined || holds(between, minute))?.bytesPerSecond;
}

function holds({ start, end }: { readonly start: number; readonly end: number }, minute: number): boolean {
  return start < end ? minute >= start && minute < end : minute >= start || minute < end;
}

/** Bytes per unit. Providers sell lines by bits, in powers of 1000. */
const UNITS: ReadonlyMap<string, number> = new Map([
  ['kbit/s', 125],
  ['mbit/s', 125_000],
  ['gbit/s', 125_000_000],
  ['kb/s', 1000],
  ['mb/s', 1e6],
  ['gb/s', 1e9],
  ['kib/s', 2 ** 10],
  ['mib/s', 2 ** 20],
  ['gib/s', 2 ** 30],
]);

/** A lower limit would look like an outage. */
const MIN_BYTES_PER_SECOND = 1000;

/** `08:00-18:00=50Mbit/s` or `200Mbit/s`. Throws UnitError. */
export function parseBandwidth(text: string): DailyLimit {
  const equals = text.indexOf('=');
  if (equals < 0) return { bytesPerSecond: parseRate(text) };
  const [, start, end] = /^(\d\d:\d\d)-(\d\d:\d\d)$/.exec(text.slice(0, equals).trim()) ?? [];
  if (start === undefined || end === undefined || start === end) {
    throw new UnitError(`${quoted(text)} has no time of day such as 08:00-18:00`);
  }
  const between = { start: parseMinutes(start, text), end: parseMinutes(end, text) };
  return { between, bytesPerSecond: parseRate(text.slice(equals + 1).trim()) };
}

function parseRate(text: string): number | undefined {
  if (text === 'unlimited') return undefined;
  const [, amount, unit = ''] = /^(\d+(?:\.\d+)?) ?([kmg]i?b(?:it)?\/s)$/i.exec(text) ?? [];
  const factor = UNITS.get(unit.toLowerCase());
  if (amount === undefined || factor === undefined) throw new UnitError(`${quoted(text)} is not a rate`);
  const bytesPerSecond = Math.round(Number(amount) * factor);
  if (bytesPerSecond < MIN_BYTES_PER_SECOND || !Number.isSafeInteger(bytesPerSecond)) {
    throw new UnitError(`${quoted(text)} is not a rate from 8kbit/s up`);
  }
  return bytesPerSecond;
}

function parseMinutes(text: string, whole: string): number {
  const [hours = 0, minutes = 0] = text.split(':').map(Number);
  const isEndOfDay = hours === 24 && minutes === 0;
  if ((hours > 23 || minutes > 59) && !isEndOfDay) throw new UnitError(`${quoted(whole)} has no time of day`);
  return hours * 60 + minutes;
}
