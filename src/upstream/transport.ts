import { deferred } from '../lib/deferred.ts';
import { environmentProxy } from '../lib/proxy-environment.ts';
import { AnswerBody } from './answer-body.ts';
import type { AnswerHeaders } from './answer-headers.ts';
import type { Answer } from './answer.ts';
import type { DialGuard } from './dial-guard.ts';
import { networkFailure } from './network-failure.ts';
import type { TimeLimit } from './time-limit.ts';
import { trustAlso } from './trust.ts';
import { EnvHttpProxyAgent, Pool, type Dispatcher } from './undici.ts';

export interface TransportOptions {
  /** A PEM file with certificates to trust besides the usual ones. */
  readonly ca?: string;
  /** By when a connection must stand, TLS included. */
  readonly connectTimeoutMs: number;
  /** How long a body may pause. */
  readonly idleTimeoutMs: number;
  readonly userAgent: string;
}

export interface TransportRequest {
  readonly method: 'GET' | 'HEAD' | 'POST';
  /** With POST. */
  readonly body?: string;
  /** User name, password and fragment are not sent. */
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly limit: TimeLimit;
}

/** Longer than undici's 4 s, because pulls come in bursts; a server that ends a connection earlier costs a retry. */
const KEEP_ALIVE_MS = 30_000;
/** As Docker, containerd and Podman do: what runs beside us is not asked through a proxy. */
const NEVER_BY_PROXY = ['localhost', '127.0.0.1', '[::1]'];

/**
 * HTTP/1.1 over keep-alive connections, as many as there are requests at a time, so that long bodies hold nobody up.
 * `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` are honoured. Nothing is cached, decoded or redirected.
 */
export class Transport {
  readonly #options: TransportOptions;
  readonly #guard: DialGuard;
  readonly #dispatcher: Dispatcher;

  /** Throws CertificateFileError or ProxyEnvironmentError. */
  constructor(options: TransportOptions, guard: DialGuard) {
    const { ca, connectTimeoutMs } = options;
    const connect = {
      timeout: connectTimeoutMs,
      ...(ca === undefined ? {} : { secureContext: trustAlso(ca) }),
    };
    this.#options = options;
    this.#guard = guard;
    this.#dispatcher = new EnvHttpProxyAgent({
      // A proxy is dialled wherever it is, and resolves names itself; all else goes past the guard.
      connect: guard.connector(connect),
      requestTls: connect,
      proxyTls: connect,
      // A proxy must answer CONNECT in the time of a connection; undici's default is 300 s.
      clientFactory: (origin, poolOptions) =>
        new Pool(origin, { ...poolOptions, headersTimeout: connectTimeoutMs }),
      // Plain http goes to the proxy as a request of its own: many allow CONNECT to port 443 only.
      proxyTunnel: false,
      // An empty text means none; undefined would have undici look for itself, and quote what it cannot parse.
      httpProxy: environmentProxy('http', process.env) ?? '',
      httpsProxy: environmentProxy('https', process.env) ?? '',
      noProxy: noProxy(process.env['no_proxy'] ?? process.env['NO_PROXY'] ?? ''),
      allowH2: false,
      keepAliveTimeout: KEEP_ALIVE_MS,
    });
  }

  /** Resolves with the head of the answer, whatever its status. Throws UpstreamFailure or the caller's reason to stop. */
  async send(request: TransportRequest): Promise<Answer> {
    const { method, url, headers, limit, body } = request;
    const exchange = new Exchange(url, this.#options.connectTimeoutMs);
    const forbidden = this.#guard.refusal(url);
    if (forbidden !== undefined) throw networkFailure(forbidden, { host: url.host, connectTimeoutMs: 0 });
    this.#dispatcher.dispatch(
      {
        origin: url.origin,
        path: `${url.pathname}${url.search}`,
        method,
        ...(body === undefined ? {} : { body }),
        headers: { 'accept-encoding': 'identity', 'user-agent': this.#options.userAgent, ...headers },
        // undici ends the connection after a HEAD unless it is told not to; HEADs are most of what we send.
        reset: false,
        headersTimeout: 0,
        bodyTimeout: this.#options.idleTimeoutMs,
      },
      exchange,
    );
    try {
      return await limit.wait(exchange.answer, url.host);
    } catch (error) {
      exchange.abandon();
      throw error;
    }
  }

  /** Ends every connection, and with it every request and body. */
  async close(): Promise<void> {
    await this.#dispatcher.destroy();
  }
}

/** One request and what comes back. */
class Exchange implements Dispatcher.DispatchHandler {
  readonly #url: URL;
  readonly #connectTimeoutMs: number;
  readonly #answer = deferred<Answer>();
  #controller: Dispatcher.DispatchController | undefined;
  #body: AnswerBody | undefined;
  #isAbandoned = false;

  constructor(url: URL, connectTimeoutMs: number) {
    this.#url = url;
    this.#connectTimeoutMs = connectTimeoutMs;
  }

  get answer(): Promise<Answer> {
    return this.#answer.promise;
  }

  /** A request whose connection does not stand yet is given up once it does. */
  abandon(): void {
    this.#isAbandoned = true;
    this.#controller?.abort(new Error('nobody waits for the answer'));
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#isAbandoned) this.abandon();
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number, headers: AnswerHeaders): void {
    if (status < 200) return;
    this.#body = new AnswerBody(controller);
    this.#answer.resolve({ url: this.#url, status, headers, body: this.#body });
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#body?.push(chunk);
  }

  onResponseEnd(): void {
    this.#body?.finish();
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#body?.fail(error);
    const context = { host: this.#url.host, connectTimeoutMs: this.#connectTimeoutMs };
    this.#answer.reject(networkFailure(error, context));
  }
}

/** undici knows `*` only when it stands alone. */
function noProxy(fromEnvironment: string): string {
  return fromEnvironment.trim() === '*' ? '*' : [fromEnvironment, ...NEVER_BY_PROXY].join(',');
}
