/** One server of an address. IPv6 has no brackets. */
export interface RedisHost {
  readonly host: string;
  readonly port: number;
}

interface Access {
  /** TLS to every server. */
  readonly tls: boolean;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
}

/** The servers of a Redis, and how to log in. */
export type RedisAddress =
  /** One server; `url` is `redis://` or `rediss://` and holds login and database. */
  | { readonly kind: 'single'; readonly url: string }
  /** Sentinels that name the current master of `name`; they may have credentials of their own. */
  | (Access & {
      readonly kind: 'sentinel';
      readonly sentinels: readonly RedisHost[];
      readonly name: string;
      readonly database: number;
      readonly sentinelUsername?: string | undefined;
      readonly sentinelPassword?: string | undefined;
    })
  /** Some servers of a cluster; the client learns the others from them. */
  | (Access & { readonly kind: 'cluster'; readonly nodes: readonly RedisHost[] });

/** The text is not a Redis address. The message names the fault and quotes nothing. */
export class RedisAddressError extends Error {
  override readonly name = 'RedisAddressError';
  readonly code = 'redis-address-invalid';
}

/** A URL with several hosts. The WHATWG URL parser does not accept these. */
const MANY = /^(rediss?)\+(sentinel|cluster):\/\/(?:([^@/?#]*)@)?([^@/?#]*)(\/[^?#]*)?(?:\?([^#]*))?$/i;
const HOST = /^(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::([1-9]\d{0,4}))?$/i;
const MAX_PORT = 65_535;
const SENTINEL_PORT = 26_379;
const REDIS_PORT = 6379;

/**
 * `redis://host:6379/0`, `redis+sentinel://host1:26379,host2:26379/mymaster/0`, `redis+cluster://host1,host2`;
 * `rediss…` for TLS, `user:password@` for a login. Throws RedisAddressError.
 */
export function parseRedisAddress(text: string): RedisAddress {
  if (/^rediss?:\/\//i.test(text)) return single(text);
  const [, scheme = '', kind, userInfo, hosts = '', path = '', query = ''] = MANY.exec(text) ?? [];
  if (kind === undefined) throw new RedisAddressError('the value is not a Redis URL');
  const access = { tls: scheme.toLowerCase() === 'rediss', ...credentials(userInfo) };
  if (kind.toLowerCase() === 'cluster') {
    if (!/^\/?0?$/.test(path)) throw new RedisAddressError('a Redis cluster has database 0 only');
    if (query !== '') throw new RedisAddressError('the URL of a Redis cluster takes no query');
    return { kind: 'cluster', nodes: hostList(hosts, REDIS_PORT), ...access };
  }
  const [, name, database = '0'] = /^\/([\w.-]+)(?:\/(\d{0,5}))?$/.exec(path) ?? [];
  if (name === undefined) {
    throw new RedisAddressError(
      'the URL of Redis sentinels needs the path /master-name or /master-name/database',
    );
  }
  return {
    kind: 'sentinel',
    sentinels: hostList(hosts, SENTINEL_PORT),
    name,
    database: Number(database),
    ...access,
    ...sentinelCredentials(query),
  };
}

function single(url: string): RedisAddress {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed === undefined || parsed.hostname === '' || url.includes('#')) {
    const several = /^[^@]*(@[^/]*)?,/.test(url);
    const hint = several ? ' (for several hosts: redis+sentinel:// or redis+cluster://)' : '';
    throw new RedisAddressError(`the value is not a Redis URL${hint}`);
  }
  if (!/^(?:\/\d*)?$/.test(parsed.pathname)) {
    throw new RedisAddressError('the path of a Redis URL must be a database number');
  }
  return { kind: 'single', url };
}

function hostList(text: string, defaultPort: number): RedisHost[] {
  return text.split(',').map((each, index) => {
    const [, v6, host = v6, port = String(defaultPort)] = HOST.exec(each.trim()) ?? [];
    if (host === undefined || Number(port) > MAX_PORT) {
      throw new RedisAddressError(`host ${index + 1} of the Redis URL is not host:port`);
    }
    return { host, port: Number(port) };
  });
}

function credentials(userInfo: string | undefined): Pick<Access, 'username' | 'password'> {
  if (userInfo === undefined || userInfo === '') return {};
  const colon = userInfo.indexOf(':');
  if (colon < 0) throw new RedisAddressError('the Redis URL has a user without :password');
  return {
    username: decoded(userInfo.slice(0, colon)) || undefined,
    password: decoded(userInfo.slice(colon + 1)) || undefined,
  };
}

function sentinelCredentials(query: string) {
  const parameters = new URLSearchParams(query);
  for (const name of parameters.keys()) {
    if (name !== 'sentinelUsername' && name !== 'sentinelPassword') {
      throw new RedisAddressError(
        'the query of the URL of Redis sentinels takes sentinelUsername and sentinelPassword only',
      );
    }
  }
  return {
    sentinelUsername: parameters.get('sentinelUsername') ?? undefined,
    sentinelPassword: parameters.get('sentinelPassword') ?? undefined,
  };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new RedisAddressError('the user or password of the Redis URL has a % without two hex digits');
  }
}
