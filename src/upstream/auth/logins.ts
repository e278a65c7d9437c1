import { readFile } from 'node:fs/promises';
import { compileGlob } from '../../lib/glob.ts';
import { unavailable, type Identity } from '../upstream.ts';

/** A login in a credential helper or a `config.json` of Docker. */
export type StoredLogin =
  | { readonly kind: 'password'; readonly username: string; readonly password: string }
  /** A token that a token service exchanges for others (OAuth 2 `refresh_token`). */
  | { readonly kind: 'identity-token'; readonly token: string };

/** A source that gives a login as often as needed. */
export interface LoginSource {
  /** For people: the name of the source. */
  readonly name: string;
  /** Throws UpstreamFailure. Its message holds no secret. */
  get(): Promise<StoredLogin>;
  /** Call if the last login is refused. True if `get` may now return another one. */
  rejected(): boolean;
}

/** Helpers return this user name if the secret is an identity token (docker/docker-credential-helpers). */
export const IDENTITY_USER = '<token>';

/** The login of a user name and a secret; undefined if they cannot be sent. */
export function storedLogin(username: unknown, secret: unknown): StoredLogin | undefined {
  if (typeof username !== 'string' || typeof secret !== 'string' || secret === '') return undefined;
  if (/\p{Cc}/u.test(username + secret)) return undefined;
  if (username === IDENTITY_USER) return { kind: 'identity-token', token: secret };
  return username === '' || username.includes(':')
    ? undefined
    : { kind: 'password', username, password: secret };
}

/** Docker's name of a registry in credential stores. */
export function dockerServer(host: string): string {
  return host === 'docker.io' ? 'https://index.docker.io/v1/' : host;
}

/**
 * Credentials: user name and password, or a token; as secrets, in files, or in a `source`. Files are read for each
 * use, so that changes count at once.
 */
export interface Credentials {
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  readonly passwordFile?: string | undefined;
  readonly token?: string | undefined;
  readonly tokenFile?: string | undefined;
  /** If set, the other members are not used. */
  readonly source?: LoginSource | undefined;
}

/** Authenticates a request to a token service: a header, or an identity token. Neither: anonymous. */
export interface Proof {
  readonly authorization?: string;
  readonly identityToken?: string;
}

/**
 * True for a configured token, which goes to the registry itself. A password goes to the token service that the
 * registry names.
 */
export function isToken(credentials: Credentials): boolean {
  return credentials.token !== undefined || credentials.tokenFile !== undefined;
}

/** The value of `Authorization`: Basic (RFC 7617, UTF-8) or Bearer (RFC 6750). Throws UpstreamFailure. */
export async function authorizationOf(credentials: Credentials): Promise<string> {
  const { username = '', password, passwordFile, token, tokenFile, source } = credentials;
  if (source !== undefined) {
    const { authorization } = await proofOf(credentials);
    if (authorization !== undefined) return authorization;
    throw unavailable(
      'credentials',
      `${source.name} holds an identity token, but the registry needs a password`,
    );
  }
  if (isToken(credentials)) return `Bearer ${await secretOf(token, tokenFile)}`;
  return basic(username, await secretOf(password, passwordFile));
}

/** The proof for a token service. Throws UpstreamFailure. */
export async function proofOf(credentials: Credentials | undefined): Promise<Proof> {
  if (credentials === undefined) return {};
  if (credentials.source === undefined) return { authorization: await authorizationOf(credentials) };
  const login = await credentials.source.get();
  switch (login.kind) {
    case 'password':
      return { authorization: basic(login.username, login.password) };
    case 'identity-token':
      return { identityToken: login.token };
  }
}

function basic(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

async function secretOf(secret: string | undefined, file: string | undefined): Promise<string> {
  if (secret !== undefined) return secret;
  return file === undefined ? '' : readSecret(file);
}

async function readSecret(file: string): Promise<string> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    throw unavailable('credentials', `cannot read the credentials in ${file}`, cause);
  }
  const secret = text.trim();
  // A header cannot hold more than one line, and such a file is probably the wrong one.
  if (secret === '' || /\p{Cc}/u.test(secret)) {
    throw unavailable('credentials', `${file} does not hold one line of text`);
  }
  return secret;
}

/** The identity of a request. */
export interface Login {
  /** For people and as a key, not secret: the user name, `anonymous`, or the name of a token. */
  readonly name: string;
  readonly credentials: Credentials | undefined;
}

export interface PatternCredentials extends Credentials {
  /** A pattern of whole repository names. */
  readonly pattern: string;
}

const ANONYMOUS: Login = { name: 'anonymous', credentials: undefined };

/** The identities of one upstream: the first whose pattern matches the repository, else the main one. */
export class Logins {
  readonly #main: Login;
  readonly #byPattern: readonly { readonly matches: (name: string) => boolean; readonly login: Login }[];

  constructor(main: Credentials | undefined, byPattern: readonly PatternCredentials[] = []) {
    this.#main = main === undefined ? ANONYMOUS : { name: nameOf(main, 'token'), credentials: main };
    this.#byPattern = byPattern.map((credentials) => ({
      matches: compileGlob(credentials.pattern),
      login: { name: nameOf(credentials, `token for ${credentials.pattern}`), credentials },
    }));
  }

  /** True if any credentials are configured. */
  get hasCredentials(): boolean {
    return this.#main.credentials !== undefined || this.#byPattern.length > 0;
  }

  of(repository: string, identity: Identity): Login {
    if (identity === 'anonymous') return ANONYMOUS;
    return this.#byPattern.find(({ matches }) => matches(repository))?.login ?? this.#main;
  }
}

function nameOf(credentials: Credentials, token: string): string {
  return credentials.username ?? token;
}
