import { certificateProblem } from '../lib/certificates.ts';
import { registryPattern } from '../oci/reference.ts';
import { parseHostName, parseListen, parseNetwork } from './addresses.ts';
import { line, list, secret, text, type Setting } from './fields.ts';
import { quoted, UnitError } from './units.ts';
import { parseUsername } from './upstreams.ts';

const MAX_PATTERN_LENGTH = 512;
/** A host with an optional port, then components of a repository name, with `*` or `**` at any place. */
const PATTERN = /^(?:[a-z0-9.:-]|\*{1,2}(?!\*))+(?:\/(?:[a-z0-9._-]|\*{1,2}(?!\*))+)*$/;

/**
 * A glob for registry and repository: `docker.io/library/*`, `**`. If its first component cannot be a registry, it would
 * fit no repository: its author most likely meant Docker Hub. Throws UnitError.
 */
function parseAccountPattern(value: string): string {
  const [host = ''] = value.split('/');
  if (!PATTERN.test(value) || value.length > MAX_PATTERN_LENGTH)
    throw new UnitError(`${quoted(value)} is not a pattern`);
  if (!/[.:*]/.test(host) && host !== 'localhost') {
    throw new UnitError(
      `${quoted(value)} does not begin with a registry; for Docker Hub write docker.io/${value}`,
    );
  }
  return registryPattern(value);
}

/** `*` or a user name. Throws UnitError. */
function parseAccountName(value: string): string {
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

/** Clients and accounts. */
export const ACCESS_SETTINGS = {
  allowNetworks: {
    env: 'PIERHEAD_ALLOW_NETWORKS',
    flag: '--allow-networks',
    argument: '<networks>',
    example: ['127.0.0.0/8', '10.0.0.0/8'],
    help: 'Networks whose clients may use `listen`.',
    more: 'Other clients get 403.',
    ...NETWORKS,
  },
  trustedProxies: {
    env: 'PIERHEAD_TRUSTED_PROXIES',
    flag: '--trusted-proxies',
    argument: '<networks>',
    example: ['10.0.0.5'],
    allowed: NETWORKS.allowed,
    help: 'Reverse proxies whose X-Forwarded-For names the client.',
    more: 'That address counts for networks, rules, limits and the log.',
    schema: list(parseNetwork).default([]),
  },
  authListen: {
    env: 'PIERHEAD_AUTH_LISTEN',
    flag: '--auth-listen',
    argument: '<address>',
    example: '0.0.0.0:5443',
    allowed: 'host:port, [IPv6]:port or :port (every IPv4 address), together with htpasswdFile or tokensFile',
    help: 'Second address of the registry API, for clients with an account.',
    more: 'Not for `registry-mirrors` of Docker: a Docker Engine would send it the password of Docker Hub.',
    needs: ['htpasswdFile', 'tokensFile'],
    schema: text(parseListen).exactOptional(),
  },
  authNetworks: {
    env: 'PIERHEAD_AUTH_NETWORKS',
    flag: '--auth-networks',
    argument: '<networks>',
    example: ['10.0.0.0/8'],
    help: 'Networks whose clients may use `authListen`.',
    more: 'Other clients get 403.',
    ...NETWORKS,
  },
  htpasswdFile: {
    env: 'PIERHEAD_HTPASSWD_FILE',
    flag: '--htpasswd-file',
    argument: '<file>',
    example: '/etc/pierhead/htpasswd',
    allowed: 'a readable file with a line name:hash for each account, the hash by bcrypt (htpasswd -B)',
    help: 'File of accounts with passwords for `authListen`.',
    more: 'Read again when it changes.',
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
    help: 'File of accounts with bearer tokens for `authListen`.',
    more: 'Read again when it changes.',
    holds: 'file',
    schema: line().exactOptional(),
  },
} as const satisfies Readonly<Record<string, Setting>>;

/** The admin address. */
export const ADMIN_SETTINGS = {
  adminListen: {
    env: 'PIERHEAD_ADMIN_LISTEN',
    flag: '--admin-listen',
    argument: '<address>',
    default: '127.0.0.1:5001',
    allowed: 'host:port, [IPv6]:port or :port (every IPv4 address), port 0 to 65535; or off',
    help: 'Address of metrics, health and admin API.',
    schema: text((value) => (value === 'off' ? undefined : parseListen(value))),
  },
  adminHosts: {
    env: 'PIERHEAD_ADMIN_HOSTS',
    flag: '--admin-hosts',
    argument: '<names>',
    example: ['mirror.example.net'],
    allowed: 'host names without a port; a list, or separated by commas',
    help: 'Host names of this server at `adminListen`.',
    more: 'A request for another name gets 403. A request for an IP address or `localhost` needs no name here.',
    schema: list(parseHostName).default([]),
  },
  adminToken: {
    env: 'PIERHEAD_ADMIN_TOKEN',
    flag: '--admin-token',
    argument: '<token>',
    example: 'a-long-random-text',
    allowed: 'text without control characters',
    help: 'Token for the admin API.',
    more: 'With a token every request to the API needs it, from loopback too. Without one the API takes requests from loopback only. Metrics and health need none. Other users can read a command line.',
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
    help: 'File with the admin token.',
    holds: 'file',
    holdsValueOf: 'adminToken',
    excludes: ['adminToken'],
    schema: line().exactOptional(),
  },
} as const satisfies Readonly<Record<string, Setting>>;

/** The keys of an item of `accounts`. */
export const ACCOUNT_SETTINGS = {
  name: {
    example: 'ci',
    allowed: 'a name of htpasswdFile or tokensFile, or "*" for all accounts that no earlier item names',
    help: 'Name of the account.',
    schema: text(parseAccountName),
  },
  allow: {
    example: ['docker.io/library/*', 'ghcr.io/acme/**'],
    allowed: 'patterns of registry and repository, * within a path component, ** across; a list',
    help: 'Repositories that the account may pull.',
    more: 'Without `accounts` each account may pull all that Pierhead serves. With it, an account that no item names may pull nothing.',
    schema: list(parseAccountPattern),
  },
} as const satisfies Readonly<Record<string, Setting>>;

/** Certificates of the server and of clients. */
export const TLS_SETTINGS = {
  tlsCert: {
    env: 'PIERHEAD_TLS_CERT',
    flag: '--tls-cert',
    argument: '<file>',
    example: '/etc/pierhead/tls.crt',
    allowed: 'a readable file in PEM form, together with tlsKey',
    help: 'Certificate chain for `listen`, `authListen` and, off loopback, `adminListen`.',
    more: 'Read again when it changes. Without it: plain HTTP.',
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
    help: 'Private key of `tlsCert`.',
    more: 'Read again when it changes.',
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
    help: 'Authorities of the client certificates that `listen` demands.',
    more: 'A client must be in `allowNetworks` as well. Without it clients need no certificate.',
    holds: 'file',
    fileProblem: certificateProblem,
    needs: ['tlsCert'],
    schema: line().exactOptional(),
  },
} as const satisfies Readonly<Record<string, Setting>>;
