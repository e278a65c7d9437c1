import { createServer, type RequestListener, type Server, type ServerOptions } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { Socket } from 'node:net';
import type { Tell } from '../../events/events.ts';
import { plainAddress } from './addresses.ts';
import type { Tls } from './tls.ts';

export interface ConnectionLimits {
  readonly maxConnections: number;
  /** Per client address; trusted proxies have no such limit. */
  readonly maxConnectionsPerAddress: number;
  /** Time limit for a TLS handshake, and for the headers of a request. */
  readonly headersTimeoutMs: number;
  /** Time limit between two requests of a connection. */
  readonly idleTimeoutMs: number;
  /** Time limit for a client that does not read its response; 0: none. */
  readonly stallTimeoutMs: number;
}

export interface HttpServerOptions {
  readonly limits: ConnectionLimits;
  /** Undefined: plain HTTP. */
  readonly tls: Tls | undefined;
  /** Whether clients are asked for a certificate. The handshake succeeds without one. */
  readonly asksForCertificates: boolean;
  /** Trusted proxies are exempt from `maxConnectionsPerAddress`. */
  readonly isTrustedProxy: (address: string) => boolean;
  readonly tell: Tell<'connectionRefused'>;
}

/** Room for the longest `Range` that is answered, beside all other headers. */
const MAX_HEADER_BYTES = 64 * 1024;
/** Requests have short bodies, if any. */
const BODY_TIMEOUT_MS = 30_000;
/** How often Node checks the time limits. */
const CHECK_MS = 1000;

/** A server for HTTP/1.1, with or without TLS, that enforces the limits. It does not listen yet. */
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
  // A connection cannot be accepted, for example without free file descriptors. Without a listener, this ends the
  // process.
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
      // A client without a certificate gets an HTTP error, which says more than a failed handshake.
      rejectUnauthorized: false,
    },
    onRequest,
  );
  // Open connections keep their certificate.
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
  // `secureConnection` comes after the handshake: too late to save its cost.
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
