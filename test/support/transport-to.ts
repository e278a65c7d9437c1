import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';
import type { Answer } from '../../src/upstream/connect/answer.ts';
import { DialGuard } from '../../src/upstream/connect/dial-guard.ts';
import { TimeLimit } from '../../src/upstream/connect/time-limit.ts';
import { Transport } from '../../src/upstream/connect/transport.ts';

export const IDLE_TIMEOUT_MS = 1000;

/** A server that hands each piece of a request to `onRequest`, a transport to it, and the server's open connections. */
export async function transportTo(onRequest: (socket: Socket, bytes: Buffer) => void): Promise<{
  readonly send: (headers?: Readonly<Record<string, string>>) => Promise<Answer>;
  readonly sockets: ReadonlySet<Socket>;
}> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
    socket.on('data', (bytes: Buffer) => onRequest(socket, bytes));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/v2/`);
  const transport = new Transport(
    { connectTimeoutMs: 10_000, idleTimeoutMs: IDLE_TIMEOUT_MS, userAgent: 'test' },
    new DialGuard({ registry: url, networks: [] }),
  );
  onTestFinished(async () => {
    await transport.close();
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const send = async (headers: Readonly<Record<string, string>> = {}): Promise<Answer> => {
    const limit = new TimeLimit({ ms: 60_000 });
    try {
      return await transport.send({ method: 'GET', url, headers, limit });
    } finally {
      limit.end();
    }
  };
  return { send, sockets };
}
