import type { OutgoingHttpHeaders } from 'node:http';
import type { UpstreamFailure } from '../upstream.ts';
import type { Answer } from './answer.ts';
import type { Connection } from './connection.ts';
import { Connections } from './connections.ts';
import type { DialGuard } from './dial-guard.ts';
import { Dialer, portOf } from './dialer.ts';
import { Exchange } from './exchange.ts';
import { networkFailure } from './network-failure.ts';
import type { TimeLimit } from './time-limit.ts';
import { trustAlso } from './trust.ts';
import { Proxies, type Proxy, ProxyError } from './tunnel.ts';

export interface TransportOptions {
  /** A PEM file with certificates to trust besides the usual ones. */
  readonly ca?: string;
  /** Time limit for a connection, TLS included. */
  readonly connectTimeoutMs: number;
  /** Time limit for a pause of a body. */
  readonly idleTimeoutMs: number;
  readonly userAgent: string;
}

export interface TransportRequest {
  readonly method: 'GET' | 'HEAD' | 'POST';
  /** For POST. */
  readonly body?: string;
  /** User name, password and fragment are not sent. */
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly limit: TimeLimit;
}

/** Requests fail because this server is stopping. */
class TransportClosedError extends Error {
  override readonly name = 'TransportClosedError';
  readonly code = 'ERR_TRANSPORT_CLOSED';
}

/**
 * HTTP/1.1 over keep-alive connections. `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` are honoured. Nothing is cached,
 * decoded or redirected.
 */
export class Transport {
  readonly #options: TransportOptions;
  readonly #guard: DialGuard;
  readonly #proxies: Proxies;
  readonly #dialer: Dialer;
  readonly #connections: Connections;
  #isClosed = false;

  /** Throws CertificateFileError or ProxyEnvironmentError. */
  constructor(options: TransportOptions, guard: DialGuard) {
    const { ca, connectTimeoutMs } = options;
    this.#options = options;
    this.#guard = guard;
    this.#proxies = new Proxies(process.env);
    const secureContext = ca === undefined ? undefined : trustAlso(ca);
    this.#dialer = new Dialer({ guard, proxies: this.#proxies, connectTimeoutMs, secureContext });
    this.#connections = new Connections((url) => this.#dialer.dial(url));
  }

  /**
   * Resolves with the head of the response, whatever its status. Throws UpstreamFailure or the caller's reason to
   * stop.
   */
  async send(request: TransportRequest): Promise<Answer> {
    const { url, limit } = request;
    // Plain http goes to a proxy as an ordinary request: many proxies allow CONNECT to port 443 only.
    const relay = url.protocol === 'http:' ? this.#proxies.of(url) : undefined;
    const exchange = this.#begin(await this.#connected(url, limit), request, relay);
    try {
      const received = await limit.wait(this.#orFailure(exchange.received, url), url.host);
      if (relay !== undefined && received.status === 407) {
        throw this.#failure(new ProxyError('it answered 407'), url);
      }
      return { url, ...received };
    } catch (error) {
      exchange.abandon();
      throw error;
    }
  }

  /** Ends the idle connections to `url`: if one is lost, a firewall or balancer may have forgotten all. */
  endIdle(url: URL): void {
    this.#connections.endIdle(url);
  }

  /** Ends every connection, and with them all requests and bodies. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#dialer.close(new TransportClosedError());
    this.#connections.close();
  }

  async #connected(url: URL, limit: TimeLimit): Promise<Connection> {
    const refusal = this.#isClosed ? new TransportClosedError() : this.#guard.refusal(url);
    if (refusal !== undefined) throw this.#failure(refusal, url);
    const connecting = this.#orFailure(this.#connections.take(url), url);
    try {
      return await limit.wait(connecting, url.host);
    } catch (error) {
      // If it comes late, the next request has it.
      connecting.then((connection) => this.#connections.give(url, connection)).catch(() => undefined);
      throw error;
    }
  }

  #begin(
    connection: Connection,
    { method, url, headers, body }: TransportRequest,
    relay: Proxy | undefined,
  ): Exchange {
    const path = `${url.pathname}${url.search}`;
    const sent: OutgoingHttpHeaders = {
      host: url.host,
      connection: 'keep-alive',
      'accept-encoding': 'identity',
      'user-agent': this.#options.userAgent,
      ...(relay?.authorization === undefined ? {} : { 'proxy-authorization': relay.authorization }),
      ...headers,
    };
    try {
      return new Exchange({
        connection,
        request: {
          method,
          host: url.hostname,
          port: portOf(url),
          path: relay === undefined ? path : `${url.origin}${path}`,
          headers: sent,
        },
        body,
        idleTimeoutMs: this.#options.idleTimeoutMs,
        onFree: (keptMs) => this.#connections.give(url, connection, keptMs),
      });
    } catch (error) {
      // A token or a `Location` can hold characters that no header may.
      connection.socket.destroy();
      throw this.#failure(error, url);
    }
  }

  async #orFailure<T>(promise: Promise<T>, url: URL): Promise<T> {
    try {
      return await promise;
    } catch (error) {
      throw this.#failure(this.#isClosed ? new TransportClosedError() : error, url);
    }
  }

  #failure(error: unknown, { host }: URL): UpstreamFailure {
    return networkFailure(error, { host, connectTimeoutMs: this.#options.connectTimeoutMs });
  }
}
