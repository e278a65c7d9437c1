import { certificateProblem } from '../lib/certificates.ts';
import { line, list, secret, text } from './fields.ts';
import type { Setting } from './setting.ts';
import { parseRepositoryPattern, parseUsername } from './upstream-fields.ts';
import { parseUpstreamUrl } from './urls.ts';

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
    fileProblem: certificateProblem,
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
