import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { errorBody } from '../oci/errors.ts';
import type { PullService } from '../pull/pull-service.ts';
import { clientRuleFinder, type ClientRule } from './client-rules.ts';
import { isInternal, sendError, type FailMode } from './error-response.ts';
import { sendBytes, type Exchange } from './exchange.ts';
import { ALIVE, readiness, type Health } from './health.ts';
import { networkMatcher, plainAddress } from './networks.ts';
import { answerRegistryRequest } from './registry-routes.ts';
import { RequestError } from './request-error.ts';

/** Longer than any client's own, so that it is the client that closes idle connections. */
const KEEP_ALIVE_MS = 90_000;
const MAX_HEADER_BYTES = 16 * 1024;

export interface RegistryServerOptions {
  readonly pull: PullService;
  /** CIDRs of the clients that are served. */
  readonly allowNetworks: readonly string[];
  readonly failMode: FailMode;
  /** What is different for some clients. */
  readonly clients: readonly ClientRule[];
  readonly health: () => Health;
  /** Called once per request, when its answer is over or its client gone. */
  readonly onExchange: (exchange: Exchange) => void;
  /** Called with errors that are faults of this program. */
  readonly onInternalError: (error: unknown, exchange: Exchange) => void;
}

/**
 * The server for clients. It reads request targets exactly as they were sent, which is why it stands on node:http
 * alone: a framework would normalise `/v2/a/../b` before anybody can refuse it.
 */
export function createRegistryServer(options: RegistryServerOptions): Server {
  const isAllowed = networkMatcher(options.allowNetworks);
  const ruleFor = clientRuleFinder(options.clients);
  const server = createServer(
    { keepAliveTimeout: KEEP_ALIVE_MS, maxHeaderSize: MAX_HEADER_BYTES, requireHostHeader: false },
    (request, response) => {
      const exchange = startExchange(request, response);
      response.once('close', () => options.onExchange(exchange));
      if (options.health().isStopping) response.setHeader('Connection', 'close');
      answer(options, exchange, isAllowed).catch((error: unknown) => {
        if (isInternal(error)) options.onInternalError(error, exchange);
        if (response.headersSent || response.destroyed) response.destroy();
        else sendError(exchange, error, ruleFor(exchange.client)?.failMode ?? options.failMode);
      });
    },
  );
  server.on('clientError', refuseMalformed);
  return server;
}

function startExchange(request: IncomingMessage, response: ServerResponse): Exchange {
  const client = plainAddress(request.socket.remoteAddress);
  return { request, response, client, startedAt: performance.now(), kind: 'other', cache: 'local', bytes: 0 };
}

async function answer(
  options: RegistryServerOptions,
  exchange: Exchange,
  isAllowed: (address: string) => boolean,
): Promise<void> {
  const { request } = exchange;
  if (!isAllowed(exchange.client)) {
    throw new RequestError(
      403,
      'DENIED',
      `clients from ${exchange.client} are not served (setting allowNetworks)`,
    );
  }
  if (request.headers.host === undefined && request.httpVersion === '1.1') {
    throw new RequestError(400, 'UNSUPPORTED', 'an HTTP/1.1 request needs a Host header');
  }
  const target = originForm(request.url ?? '/');
  if (target === '/healthz' || target === '/readyz') {
    exchange.kind = 'health';
    const { status, body } =
      target === '/healthz' ? { status: 200, body: ALIVE } : readiness(options.health());
    const headers = { 'Content-Type': 'application/json', 'Cache-Status': 'pierhead; detail=local' };
    sendBytes(exchange, status, { headers, body: Buffer.from(`${JSON.stringify(body)}\n`) });
    return;
  }
  await answerRegistryRequest(options.pull, exchange, target);
}

/** Clients of a forward proxy send the absolute form (RFC 9112 section 3.2.2); only its path matters here. */
function originForm(target: string): string {
  const match = /^https?:\/\/[^/?#]*/i.exec(target);
  return match === null ? target : target.slice(match[0].length) || '/';
}

/** What cannot be parsed as HTTP gets an OCI error too, as far as the connection still allows. */
function refuseMalformed(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const isTooLarge = error.code === 'HPE_HEADER_OVERFLOW';
  const isSlow = error.code === 'ERR_HTTP_REQUEST_TIMEOUT';
  const status = isTooLarge
    ? '431 Request Header Fields Too Large'
    : isSlow
      ? '408 Request Timeout'
      : '400 Bad Request';
  const body = errorBody({ code: 'UNSUPPORTED', message: `the request cannot be read: ${status.slice(4)}` });
  socket.end(
    `HTTP/1.1 ${status}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body.toString()}`,
  );
}
