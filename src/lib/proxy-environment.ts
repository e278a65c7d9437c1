const DEFAULT_PORTS: Readonly<Record<string, string>> = { 'http:': '80', 'https:': '443' };
const PROTOCOLS = ['http:', 'https:'];

export type ProxiedScheme = 'http' | 'https';

/** A variable that names a proxy cannot be used. Its value is not quoted, because it can hold a password. */
export class ProxyEnvironmentError extends Error {
  override readonly name = 'ProxyEnvironmentError';
  readonly code = 'proxy-environment';
}

/**
 * The proxy for URLs of `scheme` by the environment, where lower case goes first; undefined: none. As for Docker and
 * curl, `http://` may be left out. Throws ProxyEnvironmentError.
 */
export function environmentProxy(
  scheme: ProxiedScheme,
  env: Readonly<Record<string, string | undefined>>,
): string | undefined {
  const name = [`${scheme}_proxy`, `${scheme.toUpperCase()}_PROXY`].find((each) => env[each] !== undefined);
  const text = name === undefined ? '' : (env[name]?.trim() ?? '');
  if (text === '') return undefined;
  const url = text.includes('://') ? text : `http://${text}`;
  if (!isProxy(url)) {
    throw new ProxyEnvironmentError(
      `${name} (environment): the value is not the URL of a proxy; allowed: http:// or https:// with host, optionally user:password@ and port`,
    );
  }
  return url;
}

function isProxy(text: string): boolean {
  try {
    const { protocol, username, password } = new URL(text);
    decodeURIComponent(username + password);
    return PROTOCOLS.includes(protocol);
  } catch {
    return false;
  }
}

/** As Docker, containerd and Podman do: what runs beside us is not asked through a proxy. */
const NEVER_BY_PROXY = ['localhost', '127.0.0.1', '[::1]'];

/** Whether `NO_PROXY` takes a URL out: `*`, or names with all that is below them, each with or without a port. */
export function proxyExemption(env: Readonly<Record<string, string | undefined>>): (url: URL) => boolean {
  const entries = (env['no_proxy'] ?? env['NO_PROXY'] ?? '').split(/[,\s]/).filter((entry) => entry !== '');
  const exempt = [...entries, ...NEVER_BY_PROXY].map((entry) => {
    const [, host = entry, port] = /^(.+):(\d+)$/.exec(entry) ?? [];
    return { host: host.replace(/^\*?\./, '').toLowerCase(), port };
  });
  return ({ protocol, hostname, port }) => {
    const ownPort = port === '' ? DEFAULT_PORTS[protocol] : port;
    return exempt.some(
      (entry) =>
        (entry.port === undefined || entry.port === ownPort) &&
        (entry.host === '*' || hostname === entry.host || hostname.endsWith(`.${entry.host}`)),
    );
  };
}
