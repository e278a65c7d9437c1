import { request } from 'node:http';
import type { Socket } from 'node:net';
import { environmentProxy, proxyExemption } from '../../lib/proxy-environment.ts';

/** A proxy server. */
export interface Proxy {
  /** Without the login. */
  readonly url: URL;
  /** For `Proxy-Authorization`; undefined: no login. */
  readonly authorization?: string;
}

/** The proxies of `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`. */
export class Proxies {
  readonly #http: Proxy | undefined;
  readonly #https: Proxy | undefined;
  readonly #isExempt: (url: URL) => boolean;

  /** Throws ProxyEnvironmentError. */
  constructor(env: Readonly<Record<string, string | undefined>>) {
    this.#http = proxyAt(environmentProxy('http', env));
    this.#https = proxyAt(environmentProxy('https', env)) ?? this.#http;
    this.#isExempt = proxyExemption(env);
  }

  /** The proxy for `url`; undefined: none. */
  of(url: URL): Proxy | undefined {
    if (this.#isExempt(url)) return undefined;
    return url.protocol === 'https:' ? this.#https : this.#http;
  }
}

function proxyAt(text: string | undefined): Proxy | undefined {
  if (text === undefined) return undefined;
  const url = new URL(text);
  const { username, password } = url;
  url.username = url.password = '';
  if (username === '' && password === '') return { url };
  const login = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { url, authorization: `Basic ${Buffer.from(login).toString('base64')}` };
}

/** A proxy does not connect; `message` says what it did, as half a sentence. */
export class ProxyError extends Error {
  override readonly name = 'ProxyError';
  readonly code = 'ERR_PROXY';
}

/**
 * A tunnel through `proxy` to `target` (`host:port`), over the connection `link` (RFC 9110 section 9.3.6). Throws
 * ProxyError.
 */
export function openTunnel(link: Socket, proxy: Proxy, target: string): Promise<Socket> {
  const { authorization } = proxy;
  return new Promise((resolve, reject) => {
    const asked = request({
      method: 'CONNECT',
      path: target,
      createConnection: () => link,
      insecureHTTPParser: false,
      headers: {
        host: target,
        connection: 'keep-alive',
        'proxy-connection': 'keep-alive',
        ...(authorization === undefined ? {} : { 'proxy-authorization': authorization }),
      },
    });
    asked.once('connect', ({ statusCode = 0 }, _socket, head: Buffer) => {
      // Servers behind a tunnel never send first: the client begins TLS.
      if (statusCode >= 200 && statusCode < 300 && head.length === 0) resolve(link);
      else reject(new ProxyError(`it answered ${statusCode}`));
    });
    asked.on('error', (cause: NodeJS.ErrnoException) => {
      const what = cause.code?.startsWith('HPE_')
        ? 'it sent something that is not HTTP'
        : 'it closed the connection';
      reject(new ProxyError(what, { cause }));
    });
    asked.end();
  });
}
