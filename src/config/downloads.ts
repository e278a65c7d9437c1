import { bytes, durationMs, wholeNumber, type Setting } from './fields.ts';

/** Bounds of the time limits for upstreams. */
export const TIMEOUT = { minMs: 1, maxMs: 3_600_000 };
export const TIMEOUT_ALLOWED = 'a duration such as 250ms, 5s or 1m30s, from 1ms to 1h';

/** Time limits for upstreams, and downloads. */
export const DOWNLOAD_SETTINGS = {
  connectTimeout: {
    env: 'PIERHEAD_CONNECT_TIMEOUT',
    flag: '--connect-timeout',
    argument: '<duration>',
    default: '5s',
    example: '10s',
    allowed: TIMEOUT_ALLOWED,
    help: 'Time limit for a connection to an upstream, a proxy or Redis, TLS included.',
    schema: durationMs(TIMEOUT),
  },
  headersTimeout: {
    env: 'PIERHEAD_HEADERS_TIMEOUT',
    flag: '--headers-timeout',
    argument: '<duration>',
    default: '8s',
    example: '15s',
    allowed: TIMEOUT_ALLOWED,
    help: 'Time limit for the first byte of an upstream response.',
    schema: durationMs(TIMEOUT),
  },
  idleTimeout: {
    env: 'PIERHEAD_IDLE_TIMEOUT',
    flag: '--idle-timeout',
    argument: '<duration>',
    default: '20s',
    example: '1m',
    allowed: TIMEOUT_ALLOWED,
    help: 'Time limit for a pause in an upstream body.',
    more: 'After a longer pause the body counts as broken.',
    schema: durationMs(TIMEOUT),
  },
  fills: {
    env: 'PIERHEAD_FILLS',
    flag: '--fills',
    argument: '<number>',
    default: '16',
    example: '32',
    allowed: 'a whole number from 1 to 1000',
    help: 'Most downloads at a time.',
    more: 'Further downloads wait.',
    schema: wholeNumber({ min: 1, max: 1000 }),
  },
  fillSegments: {
    env: 'PIERHEAD_FILL_SEGMENTS',
    flag: '--fill-segments',
    argument: '<number>',
    default: '16',
    example: '4',
    allowed: 'a whole number from 1 to 64',
    help: 'Most connections to an upstream for one blob.',
    more: 'Several are open if clients read the blob at several places at a time.',
    schema: wholeNumber({ min: 1, max: 64 }),
  },
  fillSegmentGap: {
    env: 'PIERHEAD_FILL_SEGMENT_GAP',
    flag: '--fill-segment-gap',
    argument: '<size>',
    default: '1MiB',
    example: '4MiB',
    allowed: 'a size such as 4MiB or 10MB, from 64KiB up',
    help: 'Distance ahead of a download at which a reader gets a connection of its own.',
    more: 'Nearer readers wait for the download.',
    schema: bytes({ minBytes: 2 ** 16 }),
  },
} as const satisfies Readonly<Record<string, Setting>>;
