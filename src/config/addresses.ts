import { isIPv4, isIPv6 } from 'node:net';
import { parseRedisAddress, RedisAddressError } from '../lib/redis-address.ts';
import { quoted, UnitError } from './units.ts';

/** `host` is in the form of node:net: IPv6 without brackets. `port` 0 picks a free port. */
export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

const MAX_PORT = 65_535;
const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/i;

/** An IPv4 address or a host name (RFC 1123). A name may not end in a number, as in URLs. */
function isHost(text: string): boolean {
  if (isIPv4(text)) return true;
  const labels = text.split('.');
  return (
    text.length <= 253 && labels.every((label) => LABEL.test(label)) && !/^\d+$/.test(labels.at(-1) ?? '')
  );
}

/** A host name without a port, in lower case. Throws UnitError. */
export function parseHostName(text: string): string {
  if (!isHost(text)) throw new UnitError(`${quoted(text)} is not a host name`);
  return text.toLowerCase();
}

/** `0.0.0.0:5000`, `name:0`, `[::]:5000`; `:5000` is every IPv4 address. Throws UnitError. */
export function parseListen(text: string): ListenAddress {
  const [, v6, host = '', port] = /^(?:\[([^[\]]*)\]|([^:[\]]*)):(\d{1,5})$/.exec(text) ?? [];
  if (port === undefined) throw new UnitError(`${quoted(text)} is not an address with a port`);
  if (v6 === undefined ? host !== '' && !isHost(host) : !isIPv6(v6)) {
    throw new UnitError(`${quoted(text)} is not an address: its host is wrong`);
  }
  if (Number(port) > MAX_PORT)
    throw new UnitError(`${quoted(text)} is not an address: its port is over ${MAX_PORT}`);
  return { host: v6 ?? (host === '' ? '0.0.0.0' : host), port: Number(port) };
}

/** `host:port`, with IPv6 in brackets: the form that `parseListen` reads and that URLs have. */
export function formatListen(address: ListenAddress): string {
  return isIPv6(address.host) ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
}

/** A network in CIDR notation (RFC 4632, RFC 4291), in lower case. An address is a network of one. Throws UnitError. */
export function parseNetwork(text: string): string {
  const slash = text.indexOf('/');
  const address = slash < 0 ? text : text.slice(0, slash);
  if (!isIPv4(address) && (!isIPv6(address) || address.includes('%')))
    throw new UnitError(`${quoted(text)} is not a network`);
  const bits = isIPv4(address) ? 32 : 128;
  const prefix = slash < 0 ? String(bits) : text.slice(slash + 1);
  if (!/^(?:0|[1-9]\d{0,2})$/.test(prefix) || Number(prefix) > bits) {
    throw new UnitError(`${quoted(text)} is not a network: its prefix length is not from 0 to ${bits}`);
  }
  return `${address.toLowerCase()}/${prefix}`;
}

/** Whether `text` is a registry's host as references and `?ns=` spell it: `ghcr.io`, `registry.local:5000`. */
export function isRegistryHost(text: string): boolean {
  const [, host = '', port] = /^([^:]*)(?::([1-9]\d{0,4}))?$/.exec(text) ?? [];
  return text === text.toLowerCase() && isHost(host) && Number(port ?? 0) <= MAX_PORT;
}

export const MASK = '********';

/**
 * `text` in quotes, with user name, password, query and fragment masked. A text that is no URL is shown only if it has no
 * place for a secret.
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
 * The address of a registry without a trailing slash: `https://registry-1.docker.io`. It may have a path. Throws
 * UnitError, whose message holds no secret.
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

/** A Redis URL (lib/redis-address.ts), unchanged. Throws UnitError, whose message does not quote the value. */
export function parseRedisUrl(text: string): string {
  try {
    parseRedisAddress(text);
    return text;
  } catch (error) {
    if (!(error instanceof RedisAddressError)) throw error;
    throw new UnitError(error.message);
  }
}
