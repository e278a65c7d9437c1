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
  if (!URL.canParse(url) || !/^(?:https?|socks5):$/.test(new URL(url).protocol)) {
    throw new ProxyEnvironmentError(
      `${name} (environment): the value is not the URL of a proxy; allowed: http://, https:// or socks5:// with host, optionally user:password@ and port`,
    );
  }
  return url;
}
