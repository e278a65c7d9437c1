import { once } from 'node:events';
import { createServer, request, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';
import type { Certificate } from '../support/certificates.ts';

export interface ProxyOptions {
  /** Whom it serves; others get 407. Default everybody. */
  readonly login?: { readonly user: string; readonly password: string };
  /** It speaks TLS itself. */
  readonly certificate?: Certificate;
  /** It takes connections and requests, and says nothing. */
  readonly isSilent?: boolean;
  /** Answers every request with this status instead of what was asked for. */
  readonly refuseWith?: number;
}

/** A proxy as offices have them, for which every name but that of an IP address means this machine. */
export interface FakeProxy {
  readonly port: number;
  /** What it was asked for: `CONNECT auth.test:443`, `GET http://registry.test/v2/`. */
  readonly asked: readonly string[];
}

/** A proxy on 127.0.0.1 that closes with the running test. */
export async function startFakeProxy(options: ProxyOptions = {}): Promise<FakeProxy> {
  const asked: string[] = [];
  const sockets = new Set<Socket>();
  const { certificate, isSilent = false } = options;
  const server = certificate === undefined ? createServer() : createSecureServer(certificate);
  const refusal = (message: IncomingMessage): number | undefined => {
    asked.push(`${message.method} ${message.url}`);
    const { login, refuseWith } = options;
    if (login === undefined) return refuseWith;
    const basic = Buffer.from(`${login.user}:${login.password}`).toString('base64');
    return message.headers['proxy-authorization'] === `Basic ${basic}` ? refuseWith : 407;
  };
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
  });
  server.on('connect', (message: IncomingMessage, socket: Socket, head: Buffer) => {
    const status = refusal(message);
    if (isSilent) return;
    if (status === undefined) tunnel(message.url ?? '', socket, head);
    else socket.end(`HTTP/1.1 ${status} No\r\nContent-Length: 0\r\n\r\n`);
  });
  server.on('request', (message: IncomingMessage, response: ServerResponse) => {
    const status = refusal(message);
    if (status === undefined) forward(message, response);
    else response.writeHead(status).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return { port: (server.address() as AddressInfo).port, asked };
}

function tunnel(target: string, client: Socket, head: Buffer): void {
  const server = connect(Number(target.split(':').at(-1)), '127.0.0.1', () => {
    client.write('HTTP/1.1 200 Connection established\r\n\r\n');
    server.write(head);
    client.pipe(server).pipe(client);
  });
  server.on('error', () => client.destroy());
  client.on('error', () => server.destroy());
}

function forward(message: IncomingMessage, response: ServerResponse): void {
  const { port, pathname, search } = new URL(message.url ?? '');
  const { method = 'GET', headers } = message;
  const outgoing = request(
    { host: '127.0.0.1', port, method, headers, path: pathname + search },
    (incoming) => {
      response.writeHead(incoming.statusCode ?? 502, incoming.headers);
      incoming.pipe(response);
    },
  );
  outgoing.on('error', () => response.destroy());
  message.pipe(outgoing);
}
