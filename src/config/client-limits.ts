import type { PrefixBits } from '../lib/networks.ts';
import { durationMs, text, wholeNumber, type Setting } from './fields.ts';
import { quoted, UnitError } from './units.ts';

export interface Rate {
  readonly requests: number;
  readonly perMs: number;
}

const UNIT_MS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000 };

/** `3000/m`; undefined for `off`. Throws UnitError. */
export function parseRequestRate(value: string): Rate | undefined {
  if (value === 'off') return undefined;
  const [, amount, unit = ''] = /^([1-9]\d{0,8})\/([smh])$/.exec(value) ?? [];
  const perMs = UNIT_MS[unit];
  if (perMs === undefined) throw new UnitError(`${quoted(value)} is not a rate`);
  return { requests: Number(amount), perMs };
}

/** `32/64`. Throws UnitError. */
export function parsePrefixLengths(value: string): PrefixBits {
  const [, v4, v6] = (/^([1-9]\d?)\/([1-9]\d{0,2})$/.exec(value) ?? []).map(Number);
  if (v4 === undefined || v6 === undefined || v4 > 32 || v6 > 128) {
    throw new UnitError(`${quoted(value)} is not a prefix length of IPv4 and one of IPv6`);
  }
  return { v4, v6 };
}

const CONNECTIONS = { min: 1, max: 1_000_000 };
const CONNECTIONS_ALLOWED = 'a whole number from 1 to 1000000';
const TIMEOUT = { minMs: 100, maxMs: 86_400_000 };
const TIMEOUT_ALLOWED = 'a duration such as 10s or 5m, from 100ms to 1d';

/** Limits on clients. */
export const CLIENT_LIMIT_SETTINGS = {
  maxConnections: {
    env: 'PIERHEAD_MAX_CONNECTIONS',
    flag: '--max-connections',
    argument: '<number>',
    default: '4000',
    allowed: CONNECTIONS_ALLOWED,
    help: 'Most client connections at each address of the server.',
    more: 'Further connections are closed at once.',
    schema: wholeNumber(CONNECTIONS),
  },
  maxClientConnections: {
    env: 'PIERHEAD_MAX_CLIENT_CONNECTIONS',
    flag: '--max-client-connections',
    argument: '<number>',
    default: '1000',
    allowed: CONNECTIONS_ALLOWED,
    help: 'Most connections from one IP address at each address of the server.',
    more: 'Further connections are closed at once. `trustedProxies` are exempt.',
    schema: wholeNumber(CONNECTIONS),
  },
  clientHeadersTimeout: {
    env: 'PIERHEAD_CLIENT_HEADERS_TIMEOUT',
    flag: '--client-headers-timeout',
    argument: '<duration>',
    default: '10s',
    allowed: TIMEOUT_ALLOWED,
    help: 'Time limit for the headers of a request, and for the TLS handshake before it.',
    schema: durationMs(TIMEOUT),
  },
  clientIdleTimeout: {
    env: 'PIERHEAD_CLIENT_IDLE_TIMEOUT',
    flag: '--client-idle-timeout',
    argument: '<duration>',
    default: '90s',
    allowed: TIMEOUT_ALLOWED,
    help: 'Time limit for a connection that waits for its next request.',
    more: 'It should be longer than the idle time of clients, so that the client closes the connection.',
    schema: durationMs(TIMEOUT),
  },
  clientStallTimeout: {
    env: 'PIERHEAD_CLIENT_STALL_TIMEOUT',
    flag: '--client-stall-timeout',
    argument: '<duration>',
    default: '5m',
    allowed: TIMEOUT_ALLOWED,
    help: 'Time limit for a client that reads no byte of its answer.',
    schema: durationMs(TIMEOUT),
  },
  requestRate: {
    env: 'PIERHEAD_REQUEST_RATE',
    flag: '--request-rate',
    argument: '<rate>',
    default: 'off',
    example: '3000/m',
    allowed: 'a number of requests in a second, minute or hour, such as 50/s, 3000/m or 100000/h; or off',
    help: 'Most requests from one client network.',
    more: 'Further requests get 429 with `Retry-After`. containerd repeats such a request five times at once.',
    schema: text(parseRequestRate),
  },
  requestRateNetworks: {
    env: 'PIERHEAD_REQUEST_RATE_NETWORKS',
    flag: '--request-rate-networks',
    argument: '<lengths>',
    default: '32/64',
    example: '24/56',
    allowed: 'two prefix lengths, that of IPv4 from 1 to 32 and that of IPv6 from 1 to 128, such as 24/56',
    help: 'Prefix lengths, IPv4 and IPv6, of a client network for `requestRate`.',
    schema: text(parsePrefixLengths),
  },
} as const satisfies Readonly<Record<string, Setting>>;
