import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { PullService } from '../pull/pull-service.ts';
import { clientRuleFinder, type ClientRule, type FoundRule } from './client-rules.ts';
import { isInternal, sendError, type FailMode } from './error-response.ts';
import { isRead, sendBytes, type Exchange, type Unreadable } from './exchange.ts';
import { ALIVE, readiness, type Health } from './health.ts';
import { networkMatcher, plainAddress } from './networks.ts';
import { OpenAnswers } from './open-answers.ts';
import { answerRegistryRequest } from './registry-routes.ts';
import { RequestError } from './request-error.ts';
import { refuseUnreadable, statusOf } from './unreadable.ts';

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
  const isAllowed = networkMatcher(options.allowNetworks);
  const open = new OpenAnswers();
  const ruleFor = clientRuleFinder(options.clients);
  const server = createServer(
    { keepAliveTimeout: KEEP_ALIVE_MS, maxHeaderSize: MAX_HEADER_BYTES, requireHostHeader: false },
    (request, response) => {
      const exchange = startExchange(request, response);
      open.begin(exchange);
      response.once('close', () => options.onExchange(exchange));
      if (options.health().isStopping) response.setHeader('Connection', 'close');
      answer(options, exchange, { isAllowed, ruleFor }).catch((error: unknown) => {
        if (isInternal(error)) options.onInternalError(error, exchange);
        if (response.headersSent || response.destroyed) response.destroy();
        else sendError(exchange, error, ruleFor(exchange.client)?.failMode ?? options.failMode);
      });
    },
  );
  const { onUnreadable } = options;
  server.on('clientError', (error, connection) => refuseMalformed(error, connection, { open, onUnreadable }));
  // Node hands the connection over, or ends it without a word if nobody takes it: this is no proxy of that kind.
  server.on('connect', (_request, connection) => onUnreadable(refuseUnreadable(connection, 405)));
  // An expectation that is not known may be ignored (RFC 9110 section 10.1.1); Node's 417 would pass us by.
  server.on('checkExpectation', (request, response) => server.emit('request', request, response));
  return server;
}

function startExchange(request: IncomingMessage, response: ServerResponse): Exchange {
  const client = plainAddress(request.socket.remoteAddress);
  return { request, response, client, startedAt: performance.now(), kind: 'other', cache: 'local', bytes: 0 };
}

/** What the settings say of an address. */
interface AddressRules {
  readonly isAllowed: (address: string) => boolean;
  readonly ruleFor: (address: string) => FoundRule | undefined;
}

async function answer(
  options: RegistryServerOptions,
  exchange: Exchange,
  { isAllowed, ruleFor }: AddressRules,
): Promise<void> {
  const { request } = exchange;
  if (!isAllowed(exchange.client)) {
    throw new RequestError(
      403,
      'DENIED',
      `clients from ${exchange.client} are not served (setting allowNetworks)`,
    );
  }
  // RFC 9112 section 3.2; HTTP/1.0 may do without.
  const hosts = request.headersDistinct['host']?.length ?? 0;
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
  const varies = options.clients.some(({ platform }) => platform !== undefined) ? 'by-network' : 'by-headers';
  const platforms = { rule: ruleFor(exchange.client), varies } as const;
  await answerRegistryRequest({ pull: options.pull, platforms }, exchange, target);
}

/** Clients of a forward proxy send the absolute form (RFC 9112 section 3.2.2); only its path matters here. */
function originForm(target: string): string {
  const match = /^https?:\/\/[^/?#]*/i.exec(target);
  return match === null ? target : target.slice(match[0].length) || '/';
}

/** What cannot be parsed as HTTP gets an OCI error too, as far as the connection still allows. */
function refuseMalformed(
  error: NodeJS.ErrnoException,
  connection: Duplex,
  { open, onUnreadable }: { open: OpenAnswers } & Pick<RegistryServerOptions, 'onUnreadable'>,
): void {
  // In the middle of an answer, the error would be taken for a part of its body.
  if (error.code === 'ECONNRESET' || !connection.writable || open.isAnyOn(connection)) connection.destroy();
  else onUnreadable(refuseUnreadable(connection, statusOf(error)));
}
