import type { ServerResponse, Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Tell } from '../../events/events.ts';
import { createHttpServer, type HttpServerOptions } from '../server/server.ts';
import { requestEnded, type Exchange } from './exchange.ts';
import { createRoute, type RouteOptions } from './route.ts';
import { createRoutes, type RoutesOptions } from './routes.ts';
import { refuseUnreadable, statusOf } from './unreadable.ts';

/** Answers that are not over yet, by connection: a client may send requests ahead (RFC 9112 section 9.3.2). */
export class OpenAnswers {
  readonly #open = new WeakMap<Duplex, Set<ServerResponse>>();

  /** Sees to it that the response closes when its connection does; `onEnd` is called then, or when it is over before. */
  begin(exchange: Exchange, onEnd: (exchange: Exchange) => void): void {
    const { request, response } = exchange;
    const open = this.#openOn(request.socket);
    open.add(response);
    response.on('close', () => {
      open.delete(response);
      onEnd(exchange);
    });
  }

  isAnyOn(connection: Duplex): boolean {
    return (this.#open.get(connection)?.size ?? 0) > 0;
  }

  #openOn(connection: Duplex): Set<ServerResponse> {
    const known = this.#open.get(connection);
    if (known !== undefined) return known;
    const open = new Set<ServerResponse>();
    this.#open.set(connection, open);
    connection.once('close', () => open.forEach(endWaiting));
    return open;
  }
}

/** Of the end of a connection Node tells only the answer that is being sent, not those that wait for their turn. */
function endWaiting(response: ServerResponse): void {
  if (response.socket !== null || response.writableFinished) return;
  response.destroy();
  response.emit('close');
}

export interface RegistryServerOptions extends HttpServerOptions, RouteOptions, RoutesOptions {
  readonly tell: Tell<'connectionRefused' | 'request' | 'unreadable' | 'fault'>;
}

/**
 * What Hono sees of requests: the target and all else are in its bindings. The adapter would make a request of each, for
 * which it needs a Host and a URL in its own sense.
 */
const READ = new Request('http://mirror/');
const WRITE = new Request('http://mirror/', { method: 'POST' });

/** The server for clients: the door before the routes, on node:http itself for what is no ordinary request. */
export function createRegistryServer(options: RegistryServerOptions): Server {
  const { tell } = options;
  const open = new OpenAnswers();
  const route = createRoute(options, (exchange) =>
    open.begin(exchange, () => tell('request', requestEnded(exchange))),
  );
  const routes = createRoutes(options, route);
  const server = createHttpServer(options, (incoming, outgoing) => {
    incoming.url = originForm(incoming.url ?? '/');
    const isRead = incoming.method === 'GET' || incoming.method === 'HEAD';
    void routes.fetch(isRead ? READ : WRITE, { incoming, outgoing });
  });
  server.on('clientError', (error, connection) => refuseMalformed(error, connection, { open, tell }));
  // Node hands the connection over, or ends it without a word if nobody takes it: this is no proxy of that kind.
  server.on('connect', (_request, connection) => {
    if (open.isAnyOn(connection)) connection.destroy();
    else tell('unreadable', refuseUnreadable(connection, 405));
  });
  // An expectation that is not known may be ignored (RFC 9110 section 10.1.1); Node's 417 would pass us by.
  server.on('checkExpectation', (request, response) => server.emit('request', request, response));
  // Nothing has moved for a while. That is no fault of a client that waits for its answer.
  server.on('timeout', (connection: Socket) => {
    if (connection.writableLength > 0 || !open.isAnyOn(connection)) connection.destroy();
  });
  return server;
}

/**
 * The target as a path and a query. Clients of a forward proxy send the absolute form (RFC 9112 section 3.2.2); only its
 * path matters here. `*` and other schemes are no path.
 */
function originForm(target: string): string {
  if (target.startsWith('/')) return target;
  return /^https?:\/\/[^/?#]*(\/.*)$/is.exec(target)?.[1] ?? '/';
}

/** What cannot be parsed as HTTP gets an OCI error too, as far as the connection still allows. */
function refuseMalformed(
  error: NodeJS.ErrnoException,
  connection: Duplex,
  { open, tell }: { readonly open: OpenAnswers; readonly tell: Tell<'unreadable'> },
): void {
  // In the middle of an answer, the error would be taken for a part of its body. Others than Node's parser and its
  // clock have no one left to tell, such as a TLS handshake that failed.
  if (!/^(HPE|ERR_HTTP)_/.test(error.code ?? '') || !connection.writable || open.isAnyOn(connection))
    connection.destroy();
  else tell('unreadable', refuseUnreadable(connection, statusOf(error)));
}
