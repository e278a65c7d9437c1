const DEFAULT_PORTS: Readonly<Record<string, string>> = { 'http:': '80', 'https:': '443' };
const PROTOCOLS = ['http:', 'https:'];

export type ProxiedScheme = 'http' | 'https';

/** The value of a proxy variable is invalid. The message does not quote it: it may hold a password. */
export class ProxyEnvironmentError extends Error {
  override readonly name = 'ProxyEnvironmentError';
  readonly code = 'proxy-environment';
}

/**
 * The proxy for URLs of `scheme` by the environment; undefined: none. Lower case wins over upper case. As for Docker
 * and curl, `http://` may be left out. Throws ProxyEnvironmentError.
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

/** As in Docker, containerd and Podman: programs on the same machine are asked without a proxy. */
const NEVER_BY_PROXY = ['localhost', '127.0.0.1', '[::1]'];

/**
 * A test whether `NO_PROXY` exempts a URL. Entries: `*`, or names that include their subdomains, each with or without
 * a port.
 */
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
