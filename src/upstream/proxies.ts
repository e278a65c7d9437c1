import { environmentProxy, proxyExemption } from '../lib/proxy-environment.ts';

/** A server that is asked in place of others. */
export interface Proxy {
  /** Without the login. */
  readonly url: URL;
  /** For `Proxy-Authorization`; undefined: it is asked by nobody in particular. */
  readonly authorization?: string;
}

/** Through which proxies servers are asked, by `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`. */
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

  /** Undefined: the server at `url` is asked itself. */
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
