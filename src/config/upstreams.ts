import { certificateProblem } from '../lib/certificates.ts';
import { isRegistryHost, parseNetwork, parseUpstreamUrl } from './addresses.ts';
import { parseBandwidth } from './bandwidth.ts';
import { TIMEOUT, TIMEOUT_ALLOWED } from './downloads.ts';
import { durationMs, line, list, secret, text, type Setting } from './fields.ts';
import { quoted, UnitError } from './units.ts';

const MAX_PATTERN_LENGTH = 255;
/** A path component of a repository name (OCI distribution-spec, `<name>`), with `*` or `**` at any place. */
const PATTERN_COMPONENT = /^(?:[a-z0-9._-]|\*{1,2}(?!\*))+$/;

/** A glob for whole repository names: `acme/*`, `**`. Throws UnitError. */
export function parseRepositoryPattern(value: string): string {
  const isPattern = value.split('/').every((component) => PATTERN_COMPONENT.test(component));
  if (!isPattern || value.length > MAX_PATTERN_LENGTH) {
    throw new UnitError(`${quoted(value)} is not a repository pattern`);
  }
  return value;
}

/** A tag (OCI distribution-spec, `<reference>`) with `*` at any place. */
export const TAG_PATTERN = /^[\w*][\w.*-]{0,127}$/;

/** A glob for repositories, or for some of their tags: `acme/**`, `library/golang:1.*`. Throws UnitError. */
function parsePullPattern(value: string): string {
  const colon = value.indexOf(':');
  if (colon < 0) return parseRepositoryPattern(value);
  const tag = value.slice(colon + 1);
  if (!TAG_PATTERN.test(tag)) throw new UnitError(`${quoted(value)} is not a pattern for repository:tag`);
  return `${parseRepositoryPattern(value.slice(0, colon))}:${tag}`;
}

/** A host with an optional port, in lower case. Throws UnitError. */
function parseHost(value: string): string {
  if (!isRegistryHost(value)) throw new UnitError(`${quoted(value)} is not a host in lower case`);
  return value;
}

/** The name of a credential helper: `ecr-login` for `docker-credential-ecr-login`. Throws UnitError. */
function parseHelperName(value: string): string {
  if (!/^\w[\w.-]{0,63}$/.test(value))
    throw new UnitError(`${quoted(value)} is not the name of a credential helper`);
  return value;
}

/** A user name for Basic authentication, so without a colon (RFC 7617, section 2). Throws UnitError. */
export function parseUsername(value: string): string {
  if (!/^[^:\p{Cc}]+$/u.test(value)) throw new UnitError(`${quoted(value)} is not a user name`);
  return value;
}

const PULL_PATTERNS_ALLOWED =
  'patterns such as acme/** or library/golang:1.*, * within a path component, ** across; a list, or separated by commas';
/** An upstream has one kind of login. */
const OTHER_LOGINS = ['credentialHelper', 'dockerConfig'];

/** The keys of an upstream, `upstreams.<host>.<key>`. Environment, flag and default are for `docker.io`. */
export const UPSTREAM_SETTINGS = {
  url: {
    env: 'PIERHEAD_UPSTREAM',
    flag: '--upstream',
    argument: '<url>',
    default: 'https://registry-1.docker.io',
    allowed: 'http:// or https:// with host, optionally port and path; no user name, query or fragment',
    help: 'Address of the registry.',
    more: 'For hosts other than docker.io the default is https:// and the host. http:// allows plain HTTP.',
    holds: 'url',
    schema: text(parseUpstreamUrl),
  },
  fallbackUrls: {
    env: 'PIERHEAD_UPSTREAM_FALLBACK_URLS',
    example: ['https://mirror.example.net'],
    allowed: 'as url; a list, or separated by commas',
    help: 'Further addresses of the same content, in order.',
    more: 'Pierhead asks an address while all addresses before it are unreachable or limit Pierhead.',
    schema: list(parseUpstreamUrl).exactOptional(),
  },
  username: {
    env: 'PIERHEAD_UPSTREAM_USERNAME',
    example: 'acme',
    allowed: 'text without colon or control characters, together with password or passwordFile',
    help: 'User name at the registry.',
    needs: ['password', 'passwordFile'],
    excludes: ['token', 'tokenFile', ...OTHER_LOGINS],
    schema: text(parseUsername).exactOptional(),
  },
  password: {
    env: 'PIERHEAD_UPSTREAM_PASSWORD',
    example: 'an-access-token',
    allowed: 'text without control characters, together with username',
    help: 'Password or access token of `username`.',
    holds: 'secret',
    needs: ['username'],
    excludes: ['passwordFile', 'token', 'tokenFile', ...OTHER_LOGINS],
    schema: secret().exactOptional(),
  },
  passwordFile: {
    env: 'PIERHEAD_UPSTREAM_PASSWORD_FILE',
    example: '/run/secrets/docker-password',
    allowed: 'a readable file, together with username',
    help: 'File with the password, instead of `password`.',
    holds: 'file',
    needs: ['username'],
    excludes: ['password', 'token', 'tokenFile', ...OTHER_LOGINS],
    schema: line().exactOptional(),
  },
  token: {
    env: 'PIERHEAD_UPSTREAM_TOKEN',
    example: 'a-bearer-token',
    allowed: 'text without control characters, without username',
    help: 'Bearer token, sent as it is.',
    holds: 'secret',
    excludes: ['tokenFile', 'username', 'password', 'passwordFile', ...OTHER_LOGINS],
    schema: secret().exactOptional(),
  },
  tokenFile: {
    env: 'PIERHEAD_UPSTREAM_TOKEN_FILE',
    example: '/run/secrets/docker-token',
    allowed: 'a readable file, without username',
    help: 'File with the bearer token, instead of `token`.',
    holds: 'file',
    excludes: ['token', 'username', 'password', 'passwordFile', ...OTHER_LOGINS],
    schema: line().exactOptional(),
  },
  credentialHelper: {
    env: 'PIERHEAD_UPSTREAM_CREDENTIAL_HELPER',
    example: 'ecr-login',
    allowed: 'letters, digits, dots and dashes, such as ecr-login, gcloud or acr-env',
    help: 'Docker credential helper that returns user name and password.',
    more: 'Pierhead runs the program docker-credential-<name>.',
    excludes: ['token', 'tokenFile', 'username', 'password', 'passwordFile', 'dockerConfig'],
    schema: text(parseHelperName).exactOptional(),
  },
  dockerConfig: {
    env: 'PIERHEAD_UPSTREAM_DOCKER_CONFIG',
    example: '/run/secrets/config.json',
    allowed: 'a readable file as docker login writes it',
    help: "Docker's config file with the login of this registry.",
    more: 'Pierhead reads auths, credHelpers and credsStore.',
    holds: 'file',
    excludes: ['token', 'tokenFile', 'username', 'password', 'passwordFile', 'credentialHelper'],
    schema: line().exactOptional(),
  },
  credentialHosts: {
    env: 'PIERHEAD_UPSTREAM_CREDENTIAL_HOSTS',
    example: ['login.example.net'],
    allowed: 'hosts in lower case, optionally with a port; a list, or separated by commas',
    help: "Hosts that get the credentials, besides the registry's own.",
    more: 'They are for token services and `fallbackUrls` at other hosts.',
    schema: list(parseHost).exactOptional(),
  },
  allow: {
    env: 'PIERHEAD_UPSTREAM_ALLOW',
    example: ['library/*', 'acme/**', 'grafana/grafana:11.*'],
    allowed: PULL_PATTERNS_ALLOWED,
    help: 'Repositories and tags that may be pulled.',
    more: 'All others get 403, cached or not. Without it everything may be pulled.',
    schema: list(parsePullPattern).exactOptional(),
  },
  deny: {
    env: 'PIERHEAD_UPSTREAM_DENY',
    example: ['library/python:2*'],
    allowed: PULL_PATTERNS_ALLOWED,
    help: 'Repositories and tags that may not be pulled, even if `allow` names them.',
    schema: list(parsePullPattern).exactOptional(),
  },
  private: {
    env: 'PIERHEAD_UPSTREAM_PRIVATE',
    example: ['acme/*', 'acme-internal/**'],
    allowed:
      'patterns of whole repository names, * within a path component, ** across; a list, or separated by commas',
    help: 'Repositories that are served although only the credentials can see them.',
    schema: list(parseRepositoryPattern).default([]),
  },
  ca: {
    env: 'PIERHEAD_UPSTREAM_CA',
    example: '/etc/ssl/acme-ca.pem',
    allowed: 'a readable file in PEM form',
    help: 'Certificates to trust besides the usual ones.',
    holds: 'file',
    fileProblem: certificateProblem,
    schema: line().exactOptional(),
  },
  internalNetworks: {
    env: 'PIERHEAD_UPSTREAM_INTERNAL_NETWORKS',
    example: ['10.20.0.0/16'],
    allowed: 'IPv4 and IPv6 networks such as 10.0.0.0/8, or addresses; a list, or separated by commas',
    help: 'Networks that redirects and token services may lead to.',
    more: 'Needed only if the registry itself is not on a network of the same kind.',
    schema: list(parseNetwork).exactOptional(),
  },
  bandwidth: {
    env: 'PIERHEAD_UPSTREAM_BANDWIDTH',
    example: ['08:00-18:00=50Mbit/s', '200Mbit/s'],
    allowed:
      'rates such as 200Mbit/s, 10MB/s or unlimited, and with a time of day, start-end=rate, local time, the first that fits counts; a list, or separated by commas',
    help: 'Limit on all downloads from this upstream together.',
    more: 'Without it there is no limit.',
    schema: list(parseBandwidth).exactOptional(),
  },
  connectTimeout: {
    env: 'PIERHEAD_UPSTREAM_CONNECT_TIMEOUT',
    example: '10s',
    allowed: TIMEOUT_ALLOWED,
    help: 'Top setting `connectTimeout` for this upstream.',
    schema: durationMs(TIMEOUT).exactOptional(),
  },
  headersTimeout: {
    env: 'PIERHEAD_UPSTREAM_HEADERS_TIMEOUT',
    example: '15s',
    allowed: TIMEOUT_ALLOWED,
    help: 'Top setting `headersTimeout` for this upstream.',
    schema: durationMs(TIMEOUT).exactOptional(),
  },
  idleTimeout: {
    env: 'PIERHEAD_UPSTREAM_IDLE_TIMEOUT',
    example: '1m',
    allowed: TIMEOUT_ALLOWED,
    help: 'Top setting `idleTimeout` for this upstream.',
    schema: durationMs(TIMEOUT).exactOptional(),
  },
} as const satisfies Readonly<Record<string, Setting>>;

const { username, password, passwordFile, token, tokenFile } = UPSTREAM_SETTINGS;

/** The keys of an item of `upstreams.<host>.identities`. */
export const IDENTITY_SETTINGS = {
  pattern: {
    example: 'acme/**',
    allowed: 'a pattern of whole repository names, * within a path component, ** across',
    help: 'Repositories that are pulled with these credentials.',
    more: 'Each identity has a pull limit of its own.',
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
