import { readFile } from 'node:fs/promises';
import { unavailable } from './outcome.ts';

/**
 * What to log in with: a user name with a password, or a ready-made token; secrets themselves or the files that hold
 * them. Files are read whenever they are needed, so that what is in them can change.
 */
export interface Credentials {
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  readonly passwordFile?: string | undefined;
  readonly token?: string | undefined;
  readonly tokenFile?: string | undefined;
}

/** True for a ready-made token, which goes to the registry as it is; a password goes to whom the registry names. */
export function isToken(credentials: Credentials): boolean {
  return credentials.token !== undefined || credentials.tokenFile !== undefined;
}

/** The value of `Authorization`: Basic (RFC 7617, UTF-8) or Bearer (RFC 6750). Throws UpstreamFailure. */
export async function authorizationOf(credentials: Credentials): Promise<string> {
  const { username = '', password, passwordFile, token, tokenFile } = credentials;
  if (isToken(credentials)) return `Bearer ${await secretOf(token, tokenFile)}`;
  const pair = `${username}:${await secretOf(password, passwordFile)}`;
  return `Basic ${Buffer.from(pair).toString('base64')}`;
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
