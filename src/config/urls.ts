import { parseRedisAddress, RedisAddressError } from '../lib/redis-address.ts';
import { quoted, UnitError } from './units.ts';

export const MASK = '********';

/**
 * `text` for people, in quotes: user name, password, query and fragment masked. What cannot be taken apart is shown
 * only if it has no room for a secret.
 */
function shown(text: string): string {
  if (URL.canParse(text) && /^[a-z][a-z0-9+.-]*:\/\//i.test(text)) return quoted(redactUrl(text));
  return /^[\w.-]*(?::\d{1,5})?(?:\/[\w./-]*)?$/.test(text) ? quoted(text) : 'the value';
}

/** A URL of Redis with several hosts: its scheme, user info, hosts and path, query. */
const MANY_HOSTS = /^(rediss?\+\w+:\/\/)([^@/?#]*@)?([^?#]*)(\?.*)?$/i;

/** A valid URL with user name, password, query and fragment masked. */
export function redactUrl(text: string): string {
  const [, scheme, userInfo, rest, parameters] = MANY_HOSTS.exec(text) ?? [];
  if (scheme !== undefined) {
    return `${scheme}${userInfo === undefined ? '' : `${MASK}@`}${rest ?? ''}${parameters === undefined ? '' : `?${MASK}`}`;
  }
  const url = new URL(text);
  const user = url.username === '' && url.password === '' ? '' : `${MASK}@`;
  const query = url.search === '' && url.hash === '' ? '' : `?${MASK}`;
  const path = url.pathname === '/' ? '' : url.pathname;
  return `${url.protocol}//${user}${url.host}${path}${query}`;
}

/**
 * The address of a registry, without the trailing slash: `https://registry-1.docker.io`, a path being allowed. Throws
 * UnitError, whose message shows nothing secret.
 */
export function parseUpstreamUrl(text: string): string {
  if (!/^https?:\/\//i.test(text) || !URL.canParse(text))
    throw new UnitError(`${shown(text)} is not an http or https URL`);
  const url = new URL(text);
  if (url.username !== '' || url.password !== '')
    throw new UnitError(`${shown(text)} is not a URL without user name and password`);
  if (/[?#]/.test(text)) throw new UnitError(`${shown(text)} is not a URL without query and fragment`);
  return `${url.origin}${url.pathname.replace(/\/+$/, '')}`;
}

/** A Redis URL (lib/redis-address.ts), as it was written. Throws UnitError, whose message shows nothing of the value. */
export function parseRedisUrl(text: string): string {
  try {
    parseRedisAddress(text);
    return text;
  } catch (error) {
    if (!(error instanceof RedisAddressError)) throw error;
    throw new UnitError(error.message);
  }
}
