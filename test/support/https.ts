import { request } from 'node:https';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { once } from 'node:events';
import { buffer } from 'node:stream/consumers';
import type { IncomingMessage } from 'node:http';
import { withDeadline } from './wait.ts';

export interface HttpsAnswer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

/** A GET by TLS on a connection of its own. */
export async function httpsGet(
  url: string,
  tls: ConnectionOptions,
  headers: Readonly<Record<string, string>> = {},
): Promise<HttpsAnswer> {
  const asked = request(url, { ...tls, headers, agent: false });
  asked.end();
  const [answer] = (await withDeadline(once(asked, 'response'), `an answer of ${url}`)) as [IncomingMessage];
  return { status: answer.statusCode ?? 0, headers: answer.headers, body: await buffer(answer) };
}

/** A TLS connection that stands. */
export async function tlsConnection(url: string, options: ConnectionOptions): Promise<TLSSocket> {
  const { hostname, port } = new URL(url);
  const socket = connect({ ...options, host: hostname, port: Number(port) });
  await withDeadline(once(socket, 'secureConnect'), 'the TLS handshake');
  return socket;
}

/** Sends one request on a connection and gives all that comes back in answer, which is short. */
export async function askOn(socket: TLSSocket, path: string): Promise<string> {
  socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
  const [chunk] = (await withDeadline(once(socket, 'data'), `an answer to ${path}`)) as [Buffer];
  return chunk.toString();
}
