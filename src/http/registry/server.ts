import type { ServerResponse, Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { RequestEnded, Tell } from '../../events/events.ts';
import { TurnEnd } from '../../lib/turns.ts';
import { createHttpServer, type HttpServerOptions } from '../server/server.ts';
import { isRead, requestEnded, type Exchange } from './exchange.ts';
import { Routing, type RouteOptions } from './route.ts';
import { createRoutes, type RoutesOptions } from './routes.ts';
import { refuseUnreadable, statusOf } from './unreadable.ts';

/** The open responses of each connection: a client may pipeline requests (RFC 9112 section 9.3.2). */
export class OpenAnswers {
  readonly #open = new WeakMap<Duplex, ServerResponse[]>();

  /** Calls `onEnd` when the response is sent or its connection closes. */
  begin(exchange: Exchange, onEnd: (exchange: Exchange) => void): void {
    const { request, response } = exchange;
    const open = this.#openOn(request.socket);
    open.push(response);
    response.on('close', () => {
      open.splice(open.indexOf(response), 1);
      onEnd(exchange);
    });
  }

  isAnyOn(connection: Duplex): boolean {
    return (this.#open.get(connection)?.length ?? 0) > 0;
  }

  #openOn(connection: Duplex): ServerResponse[] {
    const known = this.#open.get(connection);
    if (known !== undefined) return known;
    const open: ServerResponse[] = [];
    this.#open.set(connection, open);
    // A copy, since each one that ends leaves the list.
    connection.once('close', () => [...open].forEach(endWaiting));
    return open;
  }
}

/** When a connection ends, Node closes the response that is being sent, but not those queued behind it. */
function endWaiting(response: ServerResponse): void {
  if (response.socket !== null || response.writableFinished) return;
  response.destroy();
  response.emit('close');
}

export interface RegistryServerOptions extends HttpServerOptions, RouteOptions, RoutesOptions {
  readonly tell: Tell<'connectionRefused' | 'request' | 'unreadable' | 'fault'>;
}

/**
 * The two requests that Hono gets; target and headers are in its bindings. Hono's adapter would make a Request for each
 * one, and refuse those whose Host or URL it cannot parse.
 */
const READ = new Request('http://mirror/');
const WRITE = new Request('http://mirror/', { method: 'POST' });

/** The server for clients: the door before the routes. It uses node:http for whatever is not an ordinary request. */
export function createRegistryServer(options: RegistryServerOptions): Server {
  const { tell } = options;
  const open = new OpenAnswers();
  const ended = new TurnEnd<RequestEnded>((request) => tell('request', request));
  const routing = new Routing(options, (exchange) =>
    open.begin(exchange, () => ended.add(requestEnded(exchange))),
  );
  const routes = createRoutes(options, routing.route);
  routes.onError((error) => {
    throw error;
  });
  const server = createHttpServer(options, (incoming, outgoing) => {
    incoming.url = originForm(incoming.url ?? '/');
    try {
      if (routing.answerKnown(incoming, outgoing)) return;
      void routes.fetch(isRead(incoming) ? READ : WRITE, { incoming, outgoing });
    } catch (error) {
      // Routes answer their own errors. An error outside them must end this one response, not the server.
      tell('fault', { where: 'other', error });
      outgoing.destroy();
    }
  });
  server.on('clientError', (error, connection) => refuseMalformed(error, connection, { open, tell }));
  // Without a listener, Node ends the connection with no response.
  server.on('connect', (_request, connection) => {
    if (open.isAnyOn(connection)) connection.destroy();
    else tell('unreadable', refuseUnreadable(connection, 405));
  });
  // Unknown expectations may be ignored (RFC 9110 section 10.1.1). Node's own 417 would not be logged.
  server.on('checkExpectation', (request, response) => server.emit('request', request, response));
  // An idle connection is kept while its client waits for a response.
  server.on('timeout', (connection: Socket) => {
    if (connection.writableLength > 0 || !open.isAnyOn(connection)) connection.destroy();
  });
  return server;
}

/**
 * The path and query of a request target. Clients of a forward proxy send the absolute form (RFC 9112 section 3.2.2),
 * of which only the path counts. `*` and other schemes become `/`.
 */
function originForm(target: string): string {
  if (target.startsWith('/')) return target;
  return /^https?:\/\/[^/?#]*(\/.*)$/is.exec(target)?.[1] ?? '/';
}

/** Answers malformed HTTP with an OCI error, if the connection still allows it. */
function refuseMalformed(
  error: NodeJS.ErrnoException,
  connection: Duplex,
  { open, tell }: { readonly open: OpenAnswers; readonly tell: Tell<'unreadable'> },
): void {
  // In the middle of a response, clients would read the error as part of the body. Errors that are not of Node's parser
  // or timers, such as a failed TLS handshake, leave no client to answer.
  if (!/^(HPE|ERR_HTTP)_/.test(error.code ?? '') || !connection.writable || open.isAnyOn(connection))
    connection.destroy();
  else tell('unreadable', refuseUnreadable(connection, statusOf(error)));
}
