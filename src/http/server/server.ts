import { createServer, type RequestListener, type Server, type ServerOptions } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { Socket } from 'node:net';
import type { Tell } from '../../events/events.ts';
import { plainAddress } from './addresses.ts';
import type { Tls } from './tls.ts';

/** What a client may take of a server, besides what it came for. */
export interface ConnectionLimits {
  readonly maxConnections: number;
  /** From one address that is no trusted proxy. */
  readonly maxConnectionsPerAddress: number;
  /** By when a TLS handshake must be done, and the headers of a request be here. */
  readonly headersTimeoutMs: number;
  /** How long a connection may wait for its next request. */
  readonly idleTimeoutMs: number;
  /** How long a client may leave what was sent to it where it is. */
  readonly stallTimeoutMs: number;
}

export interface HttpServerOptions {
  readonly limits: ConnectionLimits;
  /** Undefined: plain HTTP. */
  readonly tls: Tls | undefined;
  /** Whether clients are asked for certificates, which they may then show or not. */
  readonly asksForCertificates: boolean;
  /** Connections of these may be many. */
  readonly isTrustedProxy: (address: string) => boolean;
  readonly tell: Tell<'connectionRefused'>;
}

/** Room for as many ranges as are answered, whatever their numbers, beside all other headers. */
const MAX_HEADER_BYTES = 64 * 1024;
/** Requests here have no bodies worth waiting for. */
const BODY_TIMEOUT_MS = 30_000;
/** How often time limits are looked at. */
const CHECK_MS = 1000;

/** A server for HTTP/1.1, with or without TLS, that holds its clients to the limits. Nothing is served yet. */
export function createHttpServer(options: HttpServerOptions, onRequest: RequestListener): Server {
  const { limits, tls } = options;
  const http: ServerOptions = {
    keepAliveTimeout: limits.idleTimeoutMs,
    headersTimeout: limits.headersTimeoutMs,
    requestTimeout: limits.headersTimeoutMs + BODY_TIMEOUT_MS,
    connectionsCheckingInterval: CHECK_MS,
    maxHeaderSize: MAX_HEADER_BYTES,
    requireHostHeader: false,
  };
  const server =
    tls === undefined ? createServer(http, onRequest) : secureServer(options, tls, http, onRequest);
  server.maxConnections = limits.maxConnections;
  // No connection can be accepted, for want of file descriptors say. What nobody hears would end the process.
  server.on('error', (error) => {
    if (server.listening)
      options.tell('connectionRefused', { why: 'accept', client: '', reason: error.message });
  });
  server.on('drop', (dropped) => {
    options.tell('connectionRefused', { why: 'connections', client: plainAddress(dropped?.remoteAddress) });
  });
  limitAddresses(server, options);
  server.timeout = limits.stallTimeoutMs;
  return server;
}

function secureServer(
  { limits, asksForCertificates, tell }: HttpServerOptions,
  tls: Tls,
  http: ServerOptions,
  onRequest: RequestListener,
): Server {
  const server = createSecureServer(
    {
      ...http,
      ...tls.identity.context,
      handshakeTimeout: limits.headersTimeoutMs,
      ALPNProtocols: ['http/1.1'],
      requestCert: asksForCertificates,
      // Whoever has none is told so by an answer, which says more than a broken handshake.
      rejectUnauthorized: false,
    },
    onRequest,
  );
  // Connections that stand keep the certificate that they began with.
  tls.follow(({ context }) => server.setSecureContext(context));
  server.on('tlsClientError', (error, socket) => {
    tell('connectionRefused', {
      why: 'tls',
      client: plainAddress(socket.remoteAddress),
      reason: error.message,
    });
  });
  return server;
}

function limitAddresses(server: Server, { limits, isTrustedProxy, tell }: HttpServerOptions): void {
  const counts = new Map<string, number>();
  // Comes before TLS has begun; `secureConnection` would be too late to spare the handshake.
  server.on('connection', (socket: Socket) => {
    const address = plainAddress(socket.remoteAddress);
    if (isTrustedProxy(address)) return;
    const count = (counts.get(address) ?? 0) + 1;
    counts.set(address, count);
    socket.once('close', () => {
      const left = (counts.get(address) ?? 1) - 1;
      if (left === 0) counts.delete(address);
      else counts.set(address, left);
    });
    if (count <= limits.maxConnectionsPerAddress) return;
    tell('connectionRefused', { why: 'connections-of-address', client: address });
    socket.destroy();
  });
}
