import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';

/** Stands between clients and a server, counts the connections and keeps all that clients send. */
export interface Relay {
  /** `127.0.0.1:<port>`. */
  readonly host: string;
  /** What clients have sent so far. */
  readonly sent: string;
  readonly connections: number;
  /** New connections lead to another `host:port` from now on. */
  moveTo(target: string): void;
  /** Takes no further notice of the connections that stand, as a firewall does that has forgotten them. */
  forget(): void;
  /** Resets the connections that stand as soon as something comes on them, as a balancer does that took over from another. */
  takeOver(): void;
}

/** A relay to `host:port` on a free port of 127.0.0.1, which ends with the running test. */
export async function startRelay(target: string): Promise<Relay> {
  let goal = target;
  const sockets = new Set<Socket>();
  const pairs = new Set<readonly [client: Socket, upstream: Socket]>();
  let sent = '';
  let connections = 0;
  const server = createServer((client) => {
    connections++;
    const [host = '', port] = goal.split(':');
    const upstream = connect({ host, port: Number(port) });
    client.on('data', (chunk) => (sent += chunk.toString('latin1')));
    client.pipe(upstream).pipe(client);
    const pair = [client, upstream] as const;
    pairs.add(pair);
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(one);
      const end = (): void => {
        if (pairs.has(pair)) other.destroy();
      };
      one.on('error', end).on('close', end);
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(async () => {
    server.close();
    for (const socket of sockets) socket.destroy();
    await once(server, 'close');
  });
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    get sent() {
      return sent;
    },
    get connections() {
      return connections;
    },
    moveTo(to) {
      goal = to;
    },
    forget() {
      for (const [client, upstream] of pairs) {
        client.unpipe().resume();
        upstream.unpipe().resume();
      }
      pairs.clear();
    },
    takeOver() {
      for (const [client] of pairs)
        client
          .unpipe()
          .once('data', () => client.resetAndDestroy())
          .resume();
      pairs.clear();
    },
  };
}
