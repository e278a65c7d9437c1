import { readFile } from 'node:fs/promises';
import { unavailable } from './outcome.ts';
import type { LoginSource } from './stored-login.ts';

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
