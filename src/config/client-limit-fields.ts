import type { PrefixBits } from '../lib/network-prefix.ts';
import { quoted, UnitError } from './units.ts';

export interface Rate {
  readonly requests: number;
  readonly perMs: number;
}

const UNIT_MS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000 };

/** `3000/m`; undefined for `off`. Throws UnitError. */
export function parseRequestRate(text: string): Rate | undefined {
  if (text === 'off') return undefined;
  const [, amount, unit = ''] = /^([1-9]\d{0,8})\/([smh])$/.exec(text) ?? [];
  const perMs = UNIT_MS[unit];
  if (perMs === undefined) throw new UnitError(`${quoted(text)} is not a rate`);
  return { requests: Number(amount), perMs };
}

/** `32/64`. Throws UnitError. */
export function parsePrefixLengths(text: string): PrefixBits {
  const [, v4, v6] = (/^([1-9]\d?)\/([1-9]\d{0,2})$/.exec(text) ?? []).map(Number);
  if (v4 === undefined || v6 === undefined || v4 > 32 || v6 > 128) {
    throw new UnitError(`${quoted(text)} is not a prefix length of IPv4 and one of IPv6`);
  }
  return { v4, v6 };
}
