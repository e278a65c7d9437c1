import type { LookupAddress } from 'node:dns';
import { once } from 'node:events';
import { connect, type OnReadOpts, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions, type SecureContext } from 'node:tls';
import { LRUCache } from 'lru-cache';
import { atMost } from '../../lib/caches.ts';
import { runningTime } from '../../lib/clock.ts';
import { unlessAborted } from '../../lib/promises.ts';
import { Connection } from './connection.ts';
import { literalAddress, type DialGuard } from './dial-guard.ts';
import { type Proxies, type Proxy, openTunnel, ProxyError } from './tunnel.ts';

/** Time after which the next address is tried beside a slow one (RFC 8305 section 5). */
const ATTEMPT_DELAY_MS = 250;

interface Dialled {
  readonly socket: Socket;
}

interface Attempts<L extends Dialled> {
  readonly addresses: readonly LookupAddress[];
  /** Begins to connect to `host`, an address. */
  readonly open: (host: string) => L;
  /** Ends all attempts; its reason is thrown. */
  readonly signal: AbortSignal;
}

/**
 * The first connection to any of the addresses (RFC 8305). A slow attempt goes on beside the next one; Node's
 * `autoSelectFamily` gives it up after 250 ms and never retries. Throws the first error if no address can be reached.
 */
function connectToAny<L extends Dialled>({ addresses, open: begin, signal }: Attempts<L>): Promise<L> {
  return new Promise((resolve, reject) => {
    const waiting = alternating(addresses);
    const open = new Set<Socket>();
    let firstError: unknown;
    let timer: NodeJS.Timeout | undefined;
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
      for (const socket of open) socket.destroy();
    };
    const fail = (error: unknown): void => {
      end();
      reject(error);
    };
    const abort = (): void => fail(signal.reason);
    const next = (): void => {
      clearTimeout(timer);
      const address = waiting.shift();
      if (address === undefined) {
        if (open.size === 0) fail(firstError ?? new Error('the name has no address'));
        return;
      }
      const dialled = begin(address.address);
      const { socket } = dialled;
      open.add(socket);
      socket.on('error', (error) => {
        if (!open.delete(socket)) return;
        firstError ??= error;
        next();
      });
      socket.once('connect', () => {
        open.delete(socket);
        end();
        resolve(dialled);
      });
      timer = setTimeout(next, ATTEMPT_DELAY_MS);
    };
    if (signal.aborted) {
      abort();
      return;
    }
    signal.addEventListener('abort', abort, { once: true });
    next();
  });
}

/** The families in turn, so that an unreachable one costs one delay (RFC 8305 section 4). */
function alternating(addresses: readonly LookupAddress[]): LookupAddress[] {
  const first = addresses.filter(({ family }) => family === addresses[0]?.family);
  const other = addresses.filter(({ family }) => family !== addresses[0]?.family);
  return first
    .flatMap((address, index) => [address, ...other.slice(index, index + 1)])
    .concat(other.slice(first.length));
}

export interface DialerOptions {
  readonly guard: DialGuard;
  readonly proxies: Proxies;
  readonly connectTimeoutMs: number;
  /** Undefined: Node's own. */
  readonly secureContext: SecureContext | undefined;
}

class ConnectTimeoutError extends Error {
  override readonly name = 'ConnectTimeoutError';
  readonly code = 'ERR_CONNECT_TIMEOUT';
}

const MAX_SESSIONS = 100;

/** Makes connections: to the server itself, or by a proxy. */
export class Dialer {
  readonly #options: DialerOptions;
  readonly #dialling = new Set<AbortController>();
  /** TLS sessions by origin: a resumed one costs neither certificates nor signatures. */
  readonly #sessions = new LRUCache<string, Buffer>(atMost(MAX_SESSIONS));

  constructor(options: DialerOptions) {
    this.#options = options;
  }

  /**
   * A connection to the origin of `url`, TLS included. Throws ForbiddenAddressError, ConnectTimeoutError, ProxyError or an error of Node.
   */
  async dial(url: URL): Promise<Connection> {
    const abort = new AbortController();
    this.#dialling.add(abort);
    const late = (): void => abort.abort(new ConnectTimeoutError('it took too long to connect'));
    const timer = runningTime.timer(this.#options.connectTimeoutMs, late);
    try {
      const proxy = this.#options.proxies.of(url);
      if (proxy === undefined) return await this.#direct(url, abort.signal);
      return await this.#through(proxy, url, abort.signal);
    } finally {
      timer.stop();
      this.#dialling.delete(abort);
    }
  }

  /** Ends all attempts to connect. */
  close(reason: Error): void {
    for (const abort of this.#dialling) abort.abort(reason);
  }

  async #direct(url: URL, signal: AbortSignal): Promise<Connection> {
    const { guard } = this.#options;
    const addresses = await unlessAborted(guard.addressesOf(url), signal);
    const open = (host: string) => new Connection((onread) => this.#open(url, { host, onread }));
    const connection = await connectToAny({ addresses, open, signal });
    guard.reached(url, connection.socket.remoteAddress ?? '');
    await this.#secure(connection.socket, url, signal);
    return connection;
  }

  /** A proxy is dialled wherever it is, and itself resolves the names of servers. */
  async #through(proxy: Proxy, url: URL, signal: AbortSignal): Promise<Connection> {
    const addresses = await unlessAborted(this.#options.guard.resolve(bareHost(proxy.url)), signal);
    if (url.protocol === 'http:') {
      const open = (host: string) => new Connection((onread) => this.#open(proxy.url, { host, onread }));
      const connection = await connectToAny({ addresses, open, signal });
      await this.#secureProxy(connection.socket, proxy, signal);
      return connection;
    }
    const open = (host: string) => ({ socket: this.#open(proxy.url, { host }) });
    const { socket: link } = await connectToAny({ addresses, open, signal });
    await this.#secureProxy(link, proxy, signal);
    const target = `${url.hostname}:${portOf(url)}`;
    await endedBy(signal, link, openTunnel(link, proxy, target));
    const socket = connectTls({ ...this.#tlsTo(url), socket: link });
    await this.#secure(socket, url, signal);
    return Connection.over(socket);
  }

  /** Begins to connect to an address of `url`. */
  #open(url: URL, { host, onread }: { readonly host: string; readonly onread?: OnReadOpts }): Socket {
    const port = portOf(url);
    if (url.protocol === 'http:') return connect({ host, port, noDelay: true, onread });
    // The types lack `onread`, which Node documents for connections that it makes itself.
    const options: ConnectionOptions & { onread?: OnReadOpts | undefined } = { ...this.#tlsTo(url), onread };
    return connectTls({ ...options, host, port }).setNoDelay(true);
  }

  #tlsTo(url: URL): ConnectionOptions {
    const host = bareHost(url);
    return {
      host,
      // SNI holds names, not addresses (RFC 6066 section 3).
      ...(literalAddress(host) === undefined ? { servername: host } : {}),
      ALPNProtocols: ['http/1.1'],
      secureContext: this.#options.secureContext,
      session: this.#sessions.get(url.host),
    };
  }

  async #secureProxy(socket: Socket, proxy: Proxy, signal: AbortSignal): Promise<void> {
    try {
      await this.#secure(socket, proxy.url, signal);
    } catch (cause) {
      if (signal.aborted || !(cause instanceof Error)) throw cause;
      throw new ProxyError(`there is no TLS connection to it: ${cause.message}`, { cause });
    }
  }

  /** Resolves after the TLS handshake, if there is one. */
  async #secure(socket: Socket, url: URL, signal: AbortSignal): Promise<void> {
    if (url.protocol === 'http:') return;
    socket.on('error', () => this.#sessions.delete(url.host));
    socket.on('session', (fresh: Buffer) => this.#sessions.set(url.host, fresh));
    await endedBy(signal, socket, once(socket, 'secureConnect'));
  }
}

/** Resolves as `promise` does. If it fails, or `signal` is aborted, the socket that it works on is destroyed. */
async function endedBy<T>(signal: AbortSignal, socket: Socket, promise: Promise<T>): Promise<T> {
  try {
    return await unlessAborted(promise, signal);
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

function bareHost(url: URL): string {
  return literalAddress(url.hostname) ?? url.hostname;
}

export function portOf({ protocol, port }: URL): number {
  if (port !== '') return Number(port);
  return protocol === 'https:' ? 443 : 80;
}
