import type { ServerResponse, IncomingMessage, Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Mirror } from '../../mirror/mirror.ts';
import { clientAddress } from '../server/addresses.ts';
import { ALIVE, readiness, type Health } from '../server/health.ts';
import { createHttpServer, type HttpServerOptions } from '../server/server.ts';
import { admit, checkNetwork, type AdmissionOptions, clientRuleFinder, type ClientRule } from './clients.ts';
import { isInternal, sendError, type FailMode, RequestError } from './errors.ts';
import { type Exchange, isRead, sendBytes, type Unreadable } from './exchange.ts';
import { answerRegistryRequest, type PlatformRules } from './routes.ts';
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

export interface RegistryServerOptions extends HttpServerOptions {
  readonly pull: Mirror;
  readonly admission: AdmissionOptions;
  readonly failMode: FailMode;
  /** What is different for some clients. */
  readonly clients: readonly ClientRule[];
  readonly health: () => Health;
  /** Called once per request, when its answer is over or its client gone. */
  readonly onExchange: (exchange: Exchange) => void;
  /** Called for what is no request, once it is refused. */
  readonly onUnreadable: (unreadable: Unreadable) => void;
  /** Called with errors that are faults of this program. */
  readonly onInternalError: (error: unknown, exchange: Exchange) => void;
}

/**
 * The server for clients. It reads request targets exactly as they were sent, which is why it stands on node:http
 * alone: a framework would normalise `/v2/a/../b` before anybody can refuse it.
 */
export function createRegistryServer(options: RegistryServerOptions): Server {
  const open = new OpenAnswers();
  const ruleFor = clientRuleFinder(options.clients);
  const varies = options.clients.some(({ platform }) => platform !== undefined) ? 'by-network' : 'by-headers';
  const server = createHttpServer(options, (request, response) => {
    const exchange = startExchange(request, response, options.isTrustedProxy);
    open.begin(exchange, options.onExchange);
    if (options.health().isStopping) response.setHeader('Connection', 'close');
    answer(options, exchange, { rule: ruleFor(exchange.client), varies })
      .catch((error: unknown) => {
        if (isInternal(error)) options.onInternalError(error, exchange);
        if (response.headersSent || response.destroyed) response.destroy();
        else sendError(exchange, error, ruleFor(exchange.client)?.failMode ?? options.failMode);
      })
      .catch((error: unknown) => {
        // Not even that could be said: it must end this one answer, and not the server.
        options.onInternalError(error, exchange);
        response.destroy();
      });
  });
  const { onUnreadable } = options;
  server.on('clientError', (error, connection) => refuseMalformed(error, connection, { open, onUnreadable }));
  // Node hands the connection over, or ends it without a word if nobody takes it: this is no proxy of that kind.
  server.on('connect', (_request, connection) => {
    if (open.isAnyOn(connection)) connection.destroy();
    else onUnreadable(refuseUnreadable(connection, 405));
  });
  // An expectation that is not known may be ignored (RFC 9110 section 10.1.1); Node's 417 would pass us by.
  server.on('checkExpectation', (request, response) => server.emit('request', request, response));
  // Nothing has moved for a while. That is no fault of a client that waits for its answer.
  server.on('timeout', (connection: Socket) => {
    if (connection.writableLength > 0 || !open.isAnyOn(connection)) connection.destroy();
  });
  return server;
}

function startExchange(
  request: IncomingMessage,
  response: ServerResponse,
  isTrustedProxy: (address: string) => boolean,
): Exchange {
  const client = clientAddress(request, isTrustedProxy);
  return { request, response, client, startedAt: performance.now(), kind: 'other', cache: 'local', bytes: 0 };
}

async function answer(
  options: RegistryServerOptions,
  exchange: Exchange,
  platforms: PlatformRules,
): Promise<void> {
  const { request } = exchange;
  checkNetwork(options.admission, exchange);
  // RFC 9112 section 3.2; HTTP/1.0 may do without.
  const hosts = hostLines(request.rawHeaders);
  if (hosts > 1 || (hosts === 0 && request.httpVersion === '1.1')) {
    throw new RequestError(400, 'UNSUPPORTED', 'a request needs one Host header');
  }
  const target = originForm(request.url ?? '/');
  if (isRead(exchange) && (target === '/healthz' || target === '/readyz')) {
    exchange.kind = 'health';
    const { status, body } =
      target === '/healthz' ? { status: 200, body: ALIVE } : readiness(options.health());
    const headers = { 'Content-Type': 'application/json', 'Cache-Status': 'pierhead; detail=local' };
    sendBytes(exchange, status, { headers, body: Buffer.from(`${JSON.stringify(body)}\n`) });
    return;
  }
  const admitted = admit(options.admission, exchange);
  const account = admitted === undefined ? undefined : await admitted;
  if (account !== undefined) exchange.account = account.name;
  const context = { pull: options.pull, platforms, mayPull: account?.mayPull };
  await answerRegistryRequest(context, exchange, target);
}

/** How many of the lines `name, value, name, value, …` are Host. */
function hostLines(rawHeaders: readonly string[]): number {
  let hosts = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at];
    if (name?.length === 4 && name.toLowerCase() === 'host') hosts++;
  }
  return hosts;
}

/** Clients of a forward proxy send the absolute form (RFC 9112 section 3.2.2); only its path matters here. */
function originForm(target: string): string {
  if (target.startsWith('/')) return target;
  const match = /^https?:\/\/[^/?#]*/i.exec(target);
  return match === null ? target : target.slice(match[0].length) || '/';
}

/** What cannot be parsed as HTTP gets an OCI error too, as far as the connection still allows. */
function refuseMalformed(
  error: NodeJS.ErrnoException,
  connection: Duplex,
  { open, onUnreadable }: { open: OpenAnswers } & Pick<RegistryServerOptions, 'onUnreadable'>,
): void {
  // In the middle of an answer, the error would be taken for a part of its body. Others than Node's parser and its
  // clock have no one left to tell, such as a TLS handshake that failed.
  if (!/^(HPE|ERR_HTTP)_/.test(error.code ?? '') || !connection.writable || open.isAnyOn(connection))
    connection.destroy();
  else onUnreadable(refuseUnreadable(connection, statusOf(error)));
}
