import { z } from 'zod';
import { parsePlatform } from '../oci/platform.ts';
import {
  formatDuration,
  formatSize,
  parseDuration,
  parseSize,
  quoted,
  UnitError,
  type Size,
} from './units.ts';

/** A value before validation: the text of a variable, flag or YAML scalar, or the items of a YAML list. */
export type Raw = string | readonly string[];

const ONE_VALUE = 'takes one value, not a list';

/** A schema that reads text by `parse`. A UnitError of `parse` becomes the issue. */
export function text<V>(parse: (text: string) => V) {
  return z
    .string({ error: (issue) => (issue.input === undefined ? 'is missing' : ONE_VALUE) })
    .transform((value, context) => parsed(value.trim(), parse, context));
}

/** The items of a list. A single text is split at its commas. */
const ITEMS = z.union([z.string().transform((value) => value.split(',')), z.array(z.string())]);

/** A list of texts, each read by `parse`. */
export function list<V>(parse: (text: string) => V) {
  return ITEMS.pipe(z.array(text(parse)));
}

/** A list of texts that `parse` reads together. */
export function wholeList<V>(parse: (texts: readonly string[]) => V) {
  return ITEMS.transform((values, context) =>
    parsed(
      values.map((value) => value.trim()),
      parse,
      context,
    ),
  );
}

function parsed<T, V>(value: T, parse: (value: T) => V, context: z.RefinementCtx): V {
  try {
    return parse(value);
  } catch (error) {
    if (!(error instanceof UnitError)) throw error;
    context.addIssue({ code: 'custom', message: error.message });
    return z.NEVER;
  }
}

/** Text that no message may quote. It may go into a header field, so it has no control characters. */
export function secret({ minLength = 1 }: { readonly minLength?: number } = {}) {
  return z
    .string({ error: ONE_VALUE })
    .refine((value) => value !== '' && !hasControlCharacters(value), 'is empty or holds control characters')
    .refine((value) => value === '' || value.length >= minLength, `is shorter than ${minLength} characters`);
}

/** Text that is not empty, such as a path. Messages quote it. */
export function line() {
  return text((value) => {
    if (value === '') throw new UnitError('is empty');
    if (hasControlCharacters(value)) throw new UnitError(`${quoted(value)} holds control characters`);
    return value;
  });
}

function hasControlCharacters(value: string): boolean {
  return /\p{Cc}/u.test(value);
}

export function oneOf<const V extends string>(values: readonly V[]) {
  return text((value): V => {
    const known = values.find((candidate) => candidate === value);
    if (known === undefined) throw new UnitError(`${quoted(value)} is none of ${values.join(', ')}`);
    return known;
  });
}

interface DurationLimits {
  readonly minMs: number;
  readonly maxMs: number;
}

/** Milliseconds within the limits, both included. */
export function durationMs(limits: DurationLimits) {
  return text((value) => durationWithin(value, limits));
}

/** The same, or undefined for `off`. */
export function durationMsOrOff(limits: DurationLimits) {
  return text((value) => (value === 'off' ? undefined : durationWithin(value, limits)));
}

function durationWithin(value: string, limits: DurationLimits): number {
  const ms = parseDuration(value);
  if (ms >= limits.minMs && ms <= limits.maxMs) return ms;
  const [min, max] = [formatDuration(limits.minMs), formatDuration(limits.maxMs)];
  throw new UnitError(`${quoted(value)} is not between ${min} and ${max}`);
}

/** A share, or at least `minBytes`. */
export function size(limits: { readonly minBytes: number }) {
  return text((value): Size => {
    const parsedSize = parseSize(value);
    if ('percent' in parsedSize || parsedSize.bytes >= limits.minBytes) return parsedSize;
    throw new UnitError(`${quoted(value)} is less than ${formatSize({ bytes: limits.minBytes })}`);
  });
}

/** At least `minBytes`; no share. */
export function bytes(limits: { readonly minBytes: number }) {
  return size(limits).transform((value, context) => {
    if ('bytes' in value) return value.bytes;
    context.addIssue({ code: 'custom', message: `"${formatSize(value)}" is a share, not a size` });
    return z.NEVER;
  });
}

export function wholeNumber(limits: { readonly min: number; readonly max: number }) {
  return text((value) => {
    const { min, max } = limits;
    const number = /^\d{1,9}$/.test(value) ? Number(value) : Number.NaN;
    if (number >= min && number <= max) return number;
    throw new UnitError(`${quoted(value)} is not a whole number from ${min} to ${max}`);
  });
}

/** `20%` as 0.2, both ends included. */
export function share() {
  return text((value) => {
    const percent = /^(\d{1,3}(?:\.\d{1,3})?) ?%$/.exec(value)?.[1];
    if (percent === undefined || Number(percent) > 100)
      throw new UnitError(`${quoted(value)} is not a share`);
    return Number(percent) / 100;
  });
}

/** One row of the tables. Validation, environment, flags, the settings file and the documentation come from them. */
export interface Setting {
  /** Undefined: only a settings file can set it. */
  readonly env?: string;
  readonly flag?: string;
  /** Placeholder of the value in help texts. Undefined: a switch, which `--no-…` turns off. */
  readonly argument?: string;
  readonly default?: Raw;
  /** The example on the pages, and in the settings file if there is no default. */
  readonly example?: Raw;
  /** The unit or the allowed values, as the end of a sentence. */
  readonly allowed: string;
  /** A noun phrase with its unit, as a sentence: all that `--help` says. */
  readonly help: string;
  /** Full sentences for the pages and the settings file. */
  readonly more?: string;
  /**
   * - `secret`: never shown · `url`: shown without user name, password and query
   * - `folder`, `file`: a path from the working folder; a file must be readable at the start
   */
  readonly holds?: 'secret' | 'url' | 'folder' | 'file';
  /** The fault in the text of the file, as the end of a sentence. Undefined: no fault. */
  readonly fileProblem?: (text: string) => string | undefined;
  /** The key that gets the text of the file, without the newline at the end. */
  readonly holdsValueOf?: string;
  /** Keys that cannot be combined with this one: an error in one source, removed from weaker sources. */
  readonly excludes?: readonly string[];
  /** Keys of which at least one must be set too. */
  readonly needs?: readonly string[];
  readonly schema: z.ZodType;
}

/** The text of a platform, unchanged. Throws UnitError. */
export function parsePlatformText(value: string): string {
  if (parsePlatform(value) === undefined) throw new UnitError(`${quoted(value)} is not a platform`);
  return value;
}
