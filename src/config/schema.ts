import { parsePlatform } from '../oci/platform.ts';
import { parseListen, parseNetwork } from './addresses.ts';
import {
  bytes,
  durationMs,
  durationMsOrOff,
  line,
  list,
  oneOf,
  secret,
  share,
  size,
  text,
  wholeNumber,
} from './fields.ts';
import { REDIS_SETTINGS } from './redis-schema.ts';
import type { Setting } from './setting.ts';
import { TAG_SETTINGS } from './tag-schema.ts';
import { parseRepositoryPattern, parseUsername } from './upstream-fields.ts';
import { parseBoolean, quoted, UnitError } from './units.ts';
import { parseUpstreamUrl } from './urls.ts';

const TIMEOUT = { minMs: 1, maxMs: 3_600_000 };
const TIMEOUT_ALLOWED = 'a duration such as 250ms, 5s or 1m30s, from 1ms to 1h';

/** The settings by key, in the order in which they are shown. */
export const SETTINGS = {
  listen: {
    env: 'PIERHEAD_LISTEN',
    flag: '--listen',
    argument: '<address>',
    default: '0.0.0.0:5000',
    allowed: 'host:port, [IPv6]:port or :port (every IPv4 address), port 0 to 65535',
    help: 'Address of the registry API; port 0 picks a free port and prints it.',
    schema: text(parseListen),
  },
  adminListen: {
    env: 'PIERHEAD_ADMIN_LISTEN',
    flag: '--admin-listen',
    argument: '<address>',
    default: '127.0.0.1:5001',
    allowed: 'host:port, [IPv6]:port or :port (every IPv4 address), port 0 to 65535; or off',
    help: 'Address of dashboard, metrics and admin API.',
    schema: text((value) => (value === 'off' ? undefined : parseListen(value))),
  },
  dataDir: {
    env: 'PIERHEAD_DATA_DIR',
    flag: '--data-dir',
    argument: '<folder>',
    default: './data',
    allowed: 'a path, from the working folder if it is relative',
    help: 'Folder of everything that is kept; one server owns it.',
    holds: 'folder',
    schema: line(),
  },
  ...REDIS_SETTINGS,
  cacheSize: {
    env: 'PIERHEAD_CACHE_SIZE',
    flag: '--cache-size',
    argument: '<size>',
    default: '80%',
    allowed: '50GB (powers of 1000), 20GiB (of 1024), plain bytes, from 1MiB up; or a share from 1% to 100%',
    help: 'Hard limit on what is kept; a share is of own use plus what is free when the server starts.',
    schema: size({ minBytes: 2 ** 20 }),
  },
  ...TAG_SETTINGS,
  scrubInterval: {
    env: 'PIERHEAD_SCRUB_INTERVAL',
    flag: '--scrub-interval',
    argument: '<duration>',
    default: '30d',
    allowed: 'a duration from 1h to 365d, such as 7d; or off',
    help: 'How often everything that is stored is hashed again, slowly, while nothing is pulled.',
    schema: durationMsOrOff({ minMs: 3_600_000, maxMs: 365 * 86_400_000 }),
  },
  offline: {
    env: 'PIERHEAD_OFFLINE',
    flag: '--offline',
    default: 'false',
    allowed: 'true, false, yes, no, 1 or 0',
    help: 'Never ask upstream; serve what is cached.',
    schema: text(parseBoolean),
  },
  failMode: {
    env: 'PIERHEAD_FAIL_MODE',
    flag: '--fail-mode',
    argument: '<mode>',
    default: 'fallthrough',
    allowed: 'fallthrough (404, so that clients go on to upstream themselves) or strict (503)',
    help: 'What a client gets for a blob that is not cached while upstream is away.',
    schema: oneOf(['fallthrough', 'strict']),
  },
  pullBudgetLow: {
    env: 'PIERHEAD_PULL_BUDGET_LOW',
    flag: '--pull-budget-low',
    argument: '<share>',
    default: '20%',
    allowed: 'a share from 0% to 100%',
    help: "Below this share of upstream's pull limit only what is not in the cache is pulled; tags that moved stay where they are.",
    schema: share(),
  },
  pullBudgetReserve: {
    env: 'PIERHEAD_PULL_BUDGET_RESERVE',
    flag: '--pull-budget-reserve',
    argument: '<pulls>',
    default: '10',
    allowed: 'a whole number from 0 to 100000',
    help: 'The same for the last so many pulls, however small a share they are.',
    schema: wholeNumber({ min: 0, max: 100_000 }),
  },
  defaultPlatform: {
    env: 'PIERHEAD_DEFAULT_PLATFORM',
    flag: '--default-platform',
    argument: '<platform>',
    default: 'linux/amd64',
    allowed: 'os/architecture or os/architecture/variant, such as linux/arm64',
    help: 'Platform of a client that takes no manifest lists and does not tell its own.',
    schema: text((value) => {
      if (parsePlatform(value) === undefined) throw new UnitError(`${quoted(value)} is not a platform`);
      return value;
    }),
  },
  allowNetworks: {
    env: 'PIERHEAD_ALLOW_NETWORKS',
    flag: '--allow-networks',
    argument: '<networks>',
    default: [
      '127.0.0.0/8',
      '::1/128',
      '10.0.0.0/8',
      '172.16.0.0/12',
      '192.168.0.0/16',
      '100.64.0.0/10',
      'fc00::/7',
    ],
    allowed: 'IPv4 and IPv6 networks such as 10.0.0.0/8, or addresses; a list, or separated by commas',
    help: 'Networks whose clients are served; others get 403.',
    schema: list(parseNetwork),
  },
  adminToken: {
    env: 'PIERHEAD_ADMIN_TOKEN',
    flag: '--admin-token',
    argument: '<token>',
    example: 'a-long-random-text',
    allowed: 'text without control characters',
    help: 'Token for the admin address off loopback, where without one only metrics and health are served; on a command line others can read it.',
    holds: 'secret',
    excludes: ['adminTokenFile'],
    schema: secret().exactOptional(),
  },
  adminTokenFile: {
    env: 'PIERHEAD_ADMIN_TOKEN_FILE',
    flag: '--admin-token-file',
    argument: '<file>',
    example: '/run/secrets/admin-token',
    allowed: 'a readable file, one line of text',
    help: 'File that holds the admin token.',
    holds: 'file',
    excludes: ['adminToken'],
    schema: line().exactOptional(),
  },
  logLevel: {
    env: 'PIERHEAD_LOG_LEVEL',
    flag: '--log-level',
    argument: '<level>',
    default: 'info',
    allowed: 'trace, debug, info, warn, error, fatal or silent',
    help: 'The least level that is logged.',
    schema: oneOf(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']),
  },
  logFormat: {
    env: 'PIERHEAD_LOG_FORMAT',
    flag: '--log-format',
    argument: '<format>',
    default: 'auto',
    allowed: 'auto (pretty on a terminal, else json), json or pretty',
    help: 'Form of the log lines.',
    schema: oneOf(['auto', 'json', 'pretty']),
  },
  connectTimeout: {
    env: 'PIERHEAD_CONNECT_TIMEOUT',
    flag: '--connect-timeout',
    argument: '<duration>',
    default: '5s',
    allowed: TIMEOUT_ALLOWED,
    help: 'By when a connection to upstream must stand, TLS included.',
    schema: durationMs(TIMEOUT),
  },
  headersTimeout: {
    env: 'PIERHEAD_HEADERS_TIMEOUT',
    flag: '--headers-timeout',
    argument: '<duration>',
    default: '8s',
    allowed: TIMEOUT_ALLOWED,
    help: "By when upstream's answer must begin.",
    schema: durationMs(TIMEOUT),
  },
  idleTimeout: {
    env: 'PIERHEAD_IDLE_TIMEOUT',
    flag: '--idle-timeout',
    argument: '<duration>',
    default: '20s',
    allowed: TIMEOUT_ALLOWED,
    help: 'How long a body from upstream may pause before it counts as broken.',
    schema: durationMs(TIMEOUT),
  },
  fills: {
    env: 'PIERHEAD_FILLS',
    flag: '--fills',
    argument: '<number>',
    default: '16',
    allowed: 'a whole number from 1 to 1000',
    help: 'How many blobs are transferred from upstream at a time; further ones wait for their turn.',
    schema: wholeNumber({ min: 1, max: 1000 }),
  },
  fillSegments: {
    env: 'PIERHEAD_FILL_SEGMENTS',
    flag: '--fill-segments',
    argument: '<number>',
    default: '4',
    allowed: 'a whole number from 1 to 64',
    help: 'At how many places one blob is transferred at a time, for readers that begin far ahead.',
    schema: wholeNumber({ min: 1, max: 64 }),
  },
  fillSegmentGap: {
    env: 'PIERHEAD_FILL_SEGMENT_GAP',
    flag: '--fill-segment-gap',
    argument: '<size>',
    default: '4MiB',
    allowed: 'a size such as 4MiB or 10MB, from 64KiB up',
    help: 'A reader less than this ahead of what is being transferred waits for it.',
    schema: bytes({ minBytes: 2 ** 16 }),
  },
} as const satisfies Readonly<Record<string, Setting>>;

/** The keys of an item of `clients`; the first item whose network holds a client's address counts. */
export const CLIENT_SETTINGS = {
  network: {
    example: '10.2.0.0/16',
    allowed: 'an IPv4 or IPv6 network such as 10.0.0.0/8, or an address',
    help: 'Whose clients the item is for.',
    schema: text(parseNetwork),
  },
  failMode: {
    example: 'strict',
    allowed: 'fallthrough or strict',
    help: 'failMode for these clients.',
    schema: oneOf(['fallthrough', 'strict']).exactOptional(),
  },
} as const satisfies Readonly<Record<string, Setting>>;

/** The keys of an upstream, `upstreams.<host>.<key>`; environment, flag and default are those of `docker.io`. */
export const UPSTREAM_SETTINGS = {
  url: {
    env: 'PIERHEAD_UPSTREAM',
    flag: '--upstream',
    argument: '<url>',
    default: 'https://registry-1.docker.io',
    allowed: 'http:// or https:// with host, optionally port and path; no user name, query or fragment',
    help: 'Address of the registry; an upstream that is just a text is its url.',
    holds: 'url',
    schema: text(parseUpstreamUrl),
  },
  username: {
    env: 'PIERHEAD_UPSTREAM_USERNAME',
    example: 'acme',
    allowed: 'text without colon or control characters, together with password or passwordFile',
    help: 'User name at the registry.',
    excludes: ['token', 'tokenFile'],
    schema: text(parseUsername).exactOptional(),
  },
  password: {
    env: 'PIERHEAD_UPSTREAM_PASSWORD',
    example: 'an-access-token',
    allowed: 'text without control characters, together with username',
    help: 'Password or access token of that user.',
    holds: 'secret',
    excludes: ['passwordFile', 'token', 'tokenFile'],
    schema: secret().exactOptional(),
  },
  passwordFile: {
    env: 'PIERHEAD_UPSTREAM_PASSWORD_FILE',
    example: '/run/secrets/docker-password',
    allowed: 'a readable file, together with username',
    help: 'File that holds the password, instead of password.',
    holds: 'file',
    excludes: ['password', 'token', 'tokenFile'],
    schema: line().exactOptional(),
  },
  token: {
    env: 'PIERHEAD_UPSTREAM_TOKEN',
    example: 'a-bearer-token',
    allowed: 'text without control characters, without username',
    help: 'Bearer token to send as it is, instead of user name and password.',
    holds: 'secret',
    excludes: ['tokenFile', 'username', 'password', 'passwordFile'],
    schema: secret().exactOptional(),
  },
  tokenFile: {
    env: 'PIERHEAD_UPSTREAM_TOKEN_FILE',
    example: '/run/secrets/docker-token',
    allowed: 'a readable file, without username',
    help: 'File that holds the bearer token, instead of token.',
    holds: 'file',
    excludes: ['token', 'username', 'password', 'passwordFile'],
    schema: line().exactOptional(),
  },
  private: {
    env: 'PIERHEAD_UPSTREAM_PRIVATE',
    example: ['acme/*', 'acme-internal/**'],
    allowed:
      'patterns of whole repository names, * within a path component, ** across; a list, or separated by commas',
    help: 'Repositories that may be served although only the credentials can see them.',
    schema: list(parseRepositoryPattern).default([]),
  },
  ca: {
    env: 'PIERHEAD_UPSTREAM_CA',
    example: '/etc/ssl/acme-ca.pem',
    allowed: 'a readable file in PEM form',
    help: 'Certificates to trust besides the usual ones.',
    holds: 'file',
    schema: line().exactOptional(),
  },
} as const satisfies Readonly<Record<string, Setting>>;

const { username, password, passwordFile, token, tokenFile } = UPSTREAM_SETTINGS;

/** The keys of an item of `upstreams.<host>.identities`; the first item whose pattern names a repository counts. */
export const IDENTITY_SETTINGS = {
  pattern: {
    example: 'acme/**',
    allowed: 'a pattern of whole repository names, * within a path component, ** across',
    help: 'Repositories that are pulled as this identity, with a pull limit of its own.',
    needs: ['username', 'token', 'tokenFile'],
    schema: text(parseRepositoryPattern),
  },
  username: inFile(username),
  password: inFile(password),
  passwordFile: inFile(passwordFile),
  token: inFile(token),
  tokenFile: inFile(tokenFile),
} as const satisfies Readonly<Record<string, Setting>>;

function inFile<S extends Setting>({ env: _env, ...setting }: S): Omit<S, 'env'> {
  return setting;
}
