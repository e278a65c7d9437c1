import { PLATFORM_FORM } from '../oci/platform.ts';
import { ACCESS_SETTINGS, ADMIN_SETTINGS, TLS_SETTINGS } from './access.ts';
import { parseListen, parseNetwork } from './addresses.ts';
import { CLIENT_LIMIT_SETTINGS } from './client-limits.ts';
import { DOWNLOAD_SETTINGS } from './downloads.ts';
import {
  durationMs,
  durationMsOrOff,
  line,
  list,
  oneOf,
  share,
  size,
  text,
  wholeNumber,
  parsePlatformText,
  type Setting,
} from './fields.ts';
import { FLEET_SETTINGS, REDIS_SETTINGS } from './redis.ts';
import { TAG_SETTINGS } from './tags.ts';
import { parseBoolean } from './units.ts';

export const SERVER_SETTINGS = {
  listen: {
    env: 'PIERHEAD_LISTEN',
    flag: '--listen',
    argument: '<address>',
    default: '0.0.0.0:5000',
    allowed: 'host:port, [IPv6]:port or :port (every IPv4 address), port 0 to 65535',
    help: 'Address of the registry API.',
    more: 'Port 0 picks a free port and prints it.',
    schema: text(parseListen),
  },
  dataDir: {
    env: 'PIERHEAD_DATA_DIR',
    flag: '--data-dir',
    argument: '<folder>',
    default: './data',
    example: '/var/lib/pierhead',
    allowed: 'a path, from the working folder if it is relative',
    help: 'Folder of blobs, index and history.',
    more: 'One process owns it. It must be on a local disk.',
    holds: 'folder',
    schema: line(),
  },
} as const satisfies Readonly<Record<string, Setting>>;

export const CACHE_SETTINGS = {
  cacheSize: {
    env: 'PIERHEAD_CACHE_SIZE',
    flag: '--cache-size',
    argument: '<size>',
    default: '80%',
    example: '200GiB',
    allowed: '50GB (powers of 1000), 20GiB (of 1024), plain bytes, from 1MiB up; or a share from 1% to 100%',
    help: 'Hard limit on blobs, downloads and index together.',
    more: 'A share is of the bytes that Pierhead uses plus the free bytes of the file system, measured at the start.',
    schema: size({ minBytes: 2 ** 20 }),
  },
  scrubInterval: {
    env: 'PIERHEAD_SCRUB_INTERVAL',
    flag: '--scrub-interval',
    argument: '<duration>',
    default: '30d',
    example: '7d',
    allowed: 'a duration from 1h to 365d, such as 7d; or off',
    help: 'Time in which all cached content is hashed again.',
    more: 'At most 16 MiB/s, and only while no client pulls. A bad blob is removed and downloaded again.',
    schema: durationMsOrOff({ minMs: 3_600_000, maxMs: 365 * 86_400_000 }),
  },
} as const satisfies Readonly<Record<string, Setting>>;

/** Outages and the pull limit. */
export const OUTAGE_SETTINGS = {
  offline: {
    env: 'PIERHEAD_OFFLINE',
    flag: '--offline',
    default: 'false',
    allowed: 'true, false, yes, no, 1 or 0',
    help: 'No requests to upstreams; only cached content is served.',
    schema: text(parseBoolean),
  },
  failMode: {
    env: 'PIERHEAD_FAIL_MODE',
    flag: '--fail-mode',
    argument: '<mode>',
    default: 'fallthrough',
    example: 'strict',
    allowed:
      'fallthrough (404, so that clients ask the registry themselves) or strict (503, or 403 for a Docker Engine that would repeat its request after a 503)',
    help: 'Answer for a blob that is not cached while the upstream is unreachable.',
    schema: oneOf(['fallthrough', 'strict']),
  },
  pullBudgetLow: {
    env: 'PIERHEAD_PULL_BUDGET_LOW',
    flag: '--pull-budget-low',
    argument: '<share>',
    default: '20%',
    example: '30%',
    allowed: 'a share from 0% to 100%',
    help: 'Share of the pull limit at which few pulls are left.',
    more: 'Then only images that are not cached are pulled, and a tag that moved stays at the cached image.',
    schema: share(),
  },
  pullBudgetReserve: {
    env: 'PIERHEAD_PULL_BUDGET_RESERVE',
    flag: '--pull-budget-reserve',
    argument: '<pulls>',
    default: '10',
    example: '50',
    allowed: 'a whole number from 0 to 100000',
    help: 'Number of pulls at which few pulls are left, at any share of the limit.',
    schema: wholeNumber({ min: 0, max: 100_000 }),
  },
} as const satisfies Readonly<Record<string, Setting>>;

/** Platforms and prefetch. */
export const PLATFORM_SETTINGS = {
  defaultPlatform: {
    env: 'PIERHEAD_DEFAULT_PLATFORM',
    flag: '--default-platform',
    argument: '<platform>',
    default: 'linux/amd64',
    example: 'linux/arm64',
    allowed: PLATFORM_FORM,
    help: 'Platform of clients that accept no index and name no platform.',
    schema: text(parsePlatformText),
  },
  platforms: {
    env: 'PIERHEAD_PLATFORMS',
    flag: '--platforms',
    argument: '<platforms>',
    example: ['linux/amd64', 'linux/arm64'],
    allowed: `${PLATFORM_FORM}; a list, or separated by commas`,
    help: 'Platforms of all clients.',
    more: 'Images for other platforms are not prefetched, and an index counts as cached without them. Without it: any platform.',
    schema: list(parsePlatformText).default([]),
  },
  readAhead: {
    env: 'PIERHEAD_READ_AHEAD',
    flag: '--read-ahead',
    argument: '<what>',
    default: 'manifests',
    example: 'off',
    allowed: 'manifests (manifest and config, when a client whose platform is known gets an index) or off',
    help: 'Content to prefetch.',
    more: 'Prefetching stops while few pulls are left. Attestations are prefetched with `off` too.',
    schema: oneOf(['off', 'manifests']),
  },
} as const satisfies Readonly<Record<string, Setting>>;

/** Import of bundles. */
export const BUNDLE_SETTINGS = {
  importPins: {
    env: 'PIERHEAD_IMPORT_PINS',
    flag: '--import-pins',
    default: 'true',
    allowed: 'true, false, yes, no, 1 or 0',
    help: 'Pins for imported images.',
    schema: text(parseBoolean),
  },
  importVerify: {
    env: 'PIERHEAD_IMPORT_VERIFY',
    flag: '--import-verify',
    argument: '<file>',
    example: '/etc/pierhead/site-a.pub',
    allowed: 'a readable file, an Ed25519 public key in PEM form',
    help: 'Public key by which every imported bundle must be signed.',
    holds: 'file',
    schema: line().exactOptional(),
  },
} as const satisfies Readonly<Record<string, Setting>>;

export const HISTORY_SETTINGS = {
  historyAge: {
    env: 'PIERHEAD_HISTORY_AGE',
    flag: '--history-age',
    argument: '<duration>',
    default: '90d',
    example: '30d',
    allowed: 'a duration from 1h to 3650d, such as 30d',
    help: 'Age at which an entry of the history is removed.',
    more: '`pierhead lock` reads the history: image, platform, network and time of pulls.',
    schema: durationMs({ minMs: 3_600_000, maxMs: 3650 * 86_400_000 }),
  },
  historyEntries: {
    env: 'PIERHEAD_HISTORY_ENTRIES',
    flag: '--history-entries',
    argument: '<number>',
    default: '100000',
    allowed: 'a whole number from 0 to 10000000; 0 keeps no history',
    help: 'Most entries in the history.',
    more: 'One entry counts the pulls of one image for one platform by one network within ten minutes.',
    schema: wholeNumber({ min: 0, max: 10_000_000 }),
  },
} as const satisfies Readonly<Record<string, Setting>>;

export const LOG_SETTINGS = {
  logLevel: {
    env: 'PIERHEAD_LOG_LEVEL',
    flag: '--log-level',
    argument: '<level>',
    default: 'info',
    example: 'warn',
    allowed: 'trace, debug, info, warn, error, fatal or silent',
    help: 'Least level of log lines.',
    schema: oneOf(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']),
  },
  logFormat: {
    env: 'PIERHEAD_LOG_FORMAT',
    flag: '--log-format',
    argument: '<format>',
    default: 'auto',
    example: 'json',
    allowed: 'auto (pretty on a terminal, else json), json or pretty',
    help: 'Form of log lines.',
    schema: oneOf(['auto', 'json', 'pretty']),
  },
} as const satisfies Readonly<Record<string, Setting>>;

/** The settings at the top, in the order of `pierhead config`. */
export const SETTINGS = {
  ...SERVER_SETTINGS,
  ...CACHE_SETTINGS,
  ...TAG_SETTINGS,
  ...OUTAGE_SETTINGS,
  ...PLATFORM_SETTINGS,
  ...ACCESS_SETTINGS,
  ...TLS_SETTINGS,
  ...CLIENT_LIMIT_SETTINGS,
  ...ADMIN_SETTINGS,
  ...BUNDLE_SETTINGS,
  ...HISTORY_SETTINGS,
  ...LOG_SETTINGS,
  ...REDIS_SETTINGS,
  ...FLEET_SETTINGS,
  ...DOWNLOAD_SETTINGS,
} as const satisfies Readonly<Record<string, Setting>>;

/** The keys of an item of `clients`. */
export const CLIENT_SETTINGS = {
  network: {
    example: '10.2.0.0/16',
    allowed: 'an IPv4 or IPv6 network such as 10.0.0.0/8, or an address',
    help: 'Network of the clients.',
    schema: text(parseNetwork),
  },
  failMode: {
    example: 'strict',
    allowed: 'fallthrough or strict',
    help: 'Top setting `failMode` for these clients.',
    schema: oneOf(['fallthrough', 'strict']).exactOptional(),
  },
  platform: {
    example: 'linux/arm/v7',
    allowed: PLATFORM_FORM,
    help: 'Platform of these clients, instead of the one in their User-Agent.',
    schema: text(parsePlatformText).exactOptional(),
  },
  resolve: {
    example: 'always',
    allowed: 'negotiate (clients that accept an index get the index) or always, together with platform',
    help: 'Answer for a tag: the index, or the manifest for `platform`.',
    needs: ['platform'],
    schema: oneOf(['negotiate', 'always']).exactOptional(),
  },
} as const satisfies Readonly<Record<string, Setting>>;
