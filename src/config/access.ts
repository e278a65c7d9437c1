import { certificateProblem } from '../lib/certificates.ts';
import { registryPattern } from '../oci/reference.ts';
import { parseHostName, parseListen, parseNetwork } from './addresses.ts';
import { line, list, secret, text, type Setting } from './fields.ts';
import { quoted, UnitError } from './units.ts';
import { parseUsername } from './upstreams.ts';

const MAX_PATTERN_LENGTH = 512;
/** A host, with a port perhaps, then components of a repository name, with `*` or `**` at any place. */
const PATTERN = /^(?:[a-z0-9.:-]|\*{1,2}(?!\*))+(?:\/(?:[a-z0-9._-]|\*{1,2}(?!\*))+)*$/;

/**
 * A glob for repositories with their registries: `docker.io/library/*`, `**`. One whose first component cannot be a
 * registry would fit nothing, and whoever wrote it meant Docker Hub's. Throws UnitError.
 */
export function parseAccountPattern(value: string): string {
  const [host = ''] = value.split('/');
  if (!PATTERN.test(value) || value.length > MAX_PATTERN_LENGTH)
    throw new UnitError(`${quoted(value)} is not a pattern`);
  if (!/[.:*]/.test(host) && host !== 'localhost') {
    throw new UnitError(
      `${quoted(value)} does not begin with a registry; docker.io/${value} is one of Docker Hub`,
    );
  }
  return registryPattern(value);
}

/** `*` or a user name. Throws UnitError. */
export function parseAccountName(value: string): string {
  return value === '*' ? value : parseUsername(value);
}

const NETWORKS = {
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
  schema: list(parseNetwork),
} as const;

/** The settings of who may do what by key. */
export const ACCESS_SETTINGS = {
  allowNetworks: {
    env: 'PIERHEAD_ALLOW_NETWORKS',
    flag: '--allow-networks',
    argument: '<networks>',
    help: 'Networks whose clients are served at listen; others get 403.',
    ...NETWORKS,
  },
  trustedProxies: {
    env: 'PIERHEAD_TRUSTED_PROXIES',
    flag: '--trusted-proxies',
    argument: '<networks>',
    example: ['10.0.0.5'],
    allowed: NETWORKS.allowed,
    help: 'Proxies in front whose X-Forwarded-For tells the address of a client, for networks, rules, limits and the log.',
    schema: list(parseNetwork).default([]),
  },
  authListen: {
    env: 'PIERHEAD_AUTH_LISTEN',
    flag: '--auth-listen',
    argument: '<address>',
    example: '0.0.0.0:5443',
    allowed: 'host:port, [IPv6]:port or :port (every IPv4 address), together with htpasswdFile or tokensFile',
    help: 'A second address of the registry API, where every client needs an account; not for registry-mirrors of Docker, which would send it the password of Docker Hub.',
    needs: ['htpasswdFile', 'tokensFile'],
    schema: text(parseListen).exactOptional(),
  },
  authNetworks: {
    env: 'PIERHEAD_AUTH_NETWORKS',
    flag: '--auth-networks',
    argument: '<networks>',
    help: 'Networks whose clients are served at authListen; others get 403.',
    ...NETWORKS,
  },
  htpasswdFile: {
    env: 'PIERHEAD_HTPASSWD_FILE',
    flag: '--htpasswd-file',
    argument: '<file>',
    example: '/etc/pierhead/htpasswd',
    allowed: 'a readable file with a line name:hash for each account, the hash by bcrypt (htpasswd -B)',
    help: 'Accounts with passwords for authListen; read again when it changes.',
    holds: 'file',
    schema: line().exactOptional(),
  },
  tokensFile: {
    env: 'PIERHEAD_TOKENS_FILE',
    flag: '--tokens-file',
    argument: '<file>',
    example: '/run/secrets/pierhead-tokens',
    allowed:
      'a readable file with a line name:token for each token of an account, of at least 20 characters before any padding',
    help: 'Accounts with bearer tokens for authListen; read again when it changes.',
    holds: 'file',
    schema: line().exactOptional(),
  },
  adminHosts: {
    env: 'PIERHEAD_ADMIN_HOSTS',
    flag: '--admin-hosts',
    argument: '<names>',
    example: ['mirror.example.net'],
    allowed: 'host names without a port; a list, or separated by commas',
    help: 'Names of this server at the admin address; requests for another name, and for no IP address, get 403.',
    schema: list(parseHostName).default([]),
  },
  adminToken: {
    env: 'PIERHEAD_ADMIN_TOKEN',
    flag: '--admin-token',
    argument: '<token>',
    example: 'a-long-random-text',
    allowed: 'text without control characters',
    help: 'Token that every request to the admin API needs, from loopback too; without one the API serves loopback alone. Metrics and health need none. On a command line others can read it.',
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
    holdsValueOf: 'adminToken',
    excludes: ['adminToken'],
    schema: line().exactOptional(),
  },
} as const satisfies Readonly<Record<string, Setting>>;

/** The keys of an item of `accounts`; the first item that names an account counts. */
export const ACCOUNT_SETTINGS = {
  name: {
    example: 'ci',
    allowed: 'a name of htpasswdFile or tokensFile, or "*" for all that no item before names',
    help: 'Whom the item is for.',
    schema: text(parseAccountName),
  },
  allow: {
    example: ['docker.io/library/*', 'ghcr.io/acme/**'],
    allowed: 'patterns of registry and repository, * within a path component, ** across; a list',
    help: 'What it may pull. Without any item each account may pull all that is served, with some the others nothing.',
    schema: list(parseAccountPattern),
  },
} as const satisfies Readonly<Record<string, Setting>>;

/** The settings of TLS by key. */
export const TLS_SETTINGS = {
  tlsCert: {
    env: 'PIERHEAD_TLS_CERT',
    flag: '--tls-cert',
    argument: '<file>',
    example: '/etc/pierhead/tls.crt',
    allowed: 'a readable file in PEM form, together with tlsKey',
    help: 'Certificate, and those between it and its root, for listen, authListen and, off loopback, adminListen; read again when it changes. None: plain HTTP.',
    holds: 'file',
    fileProblem: certificateProblem,
    needs: ['tlsKey'],
    schema: line().exactOptional(),
  },
  tlsKey: {
    env: 'PIERHEAD_TLS_KEY',
    flag: '--tls-key',
    argument: '<file>',
    example: '/etc/pierhead/tls.key',
    allowed: 'a readable file in PEM form, together with tlsCert',
    help: 'The key of that certificate.',
    holds: 'file',
    needs: ['tlsCert'],
    schema: line().exactOptional(),
  },
  tlsClientCa: {
    env: 'PIERHEAD_TLS_CLIENT_CA',
    flag: '--tls-client-ca',
    argument: '<file>',
    example: '/etc/pierhead/client-ca.crt',
    allowed: 'a readable file in PEM form, together with tlsCert',
    help: 'Authorities whose certificates clients need at listen, besides being of allowNetworks; none: they need none.',
    holds: 'file',
    fileProblem: certificateProblem,
    needs: ['tlsCert'],
    schema: line().exactOptional(),
  },
} as const satisfies Readonly<Record<string, Setting>>;
