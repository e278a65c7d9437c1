import { readFile } from 'node:fs/promises';
import { compileGlob } from '../../lib/glob.ts';
import { unavailable, type Identity } from '../upstream.ts';

/** What a credential helper or a `config.json` of Docker holds for a registry. */
export type StoredLogin =
  | { readonly kind: 'password'; readonly username: string; readonly password: string }
  /** A token that a token service gives others for (OAuth 2 `refresh_token`). */
  | { readonly kind: 'identity-token'; readonly token: string };

/** Where a login is to be had from, as often as it is needed. */
export interface LoginSource {
  /** For people: where that is. */
  readonly name: string;
  /** Throws UpstreamFailure, whose message shows nothing secret. */
  get(): Promise<StoredLogin>;
  /** What `get` gave last is no longer accepted. Returns whether another one may be had now. */
  rejected(): boolean;
}

/** By this user name helpers say that the secret is an identity token (docker/docker-credential-helpers). */
export const IDENTITY_USER = '<token>';

/** The login of a user name and a secret, or undefined if they are none that can be sent. */
export function storedLogin(username: unknown, secret: unknown): StoredLogin | undefined {
  if (typeof username !== 'string' || typeof secret !== 'string' || secret === '') return undefined;
  if (/\p{Cc}/u.test(username + secret)) return undefined;
  if (username === IDENTITY_USER) return { kind: 'identity-token', token: secret };
  return username === '' || username.includes(':')
    ? undefined
    : { kind: 'password', username, password: secret };
}

/** The name under which Docker keeps the login of a registry. */
export function dockerServer(host: string): string {
  return host === 'docker.io' ? 'https://index.docker.io/v1/' : host;
}

/**
 * What to log in with: a user name with a password, or a ready-made token; secrets themselves or the files that hold
 * them; or somebody who knows. Files are read whenever they are needed, so that what is in them can change.
 */
export interface Credentials {
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  readonly passwordFile?: string | undefined;
  readonly token?: string | undefined;
  readonly tokenFile?: string | undefined;
  /** Knows the login, instead of all the others. */
  readonly source?: LoginSource | undefined;
}

/** What shows a token service who asks: a header, or a token to get others for. Neither: anybody. */
export interface Proof {
  readonly authorization?: string;
  readonly identityToken?: string;
}

/** True for a ready-made token, which goes to the registry as it is; a password goes to whom the registry names. */
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
      `${source.name} holds an identity token, and the registry wants a password`,
    );
  }
  if (isToken(credentials)) return `Bearer ${await secretOf(token, tokenFile)}`;
  return basic(username, await secretOf(password, passwordFile));
}

/** For a token service. Throws UpstreamFailure. */
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
    throw unavailable('credentials', `the credentials in ${file} cannot be read`, cause);
  }
  const secret = text.trim();
  // More than one line cannot go into a header, and is another file than was meant.
  if (secret === '' || /\p{Cc}/u.test(secret)) {
    throw unavailable('credentials', `${file} does not hold one line of text`);
  }
  return secret;
}

/** As whom a request is sent. */
export interface Login {
  /** For people and as a key; no secret: the user name, `anonymous`, or which token it is. */
  readonly name: string;
  readonly credentials: Credentials | undefined;
}

export interface PatternCredentials extends Credentials {
  /** Of whole repository names. */
  readonly pattern: string;
}

const ANONYMOUS: Login = { name: 'anonymous', credentials: undefined };

/** Chooses among the identities of one upstream: the first whose pattern names the repository, else the main one. */
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

  /** Whether there are any credentials at all. */
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
