import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { Connection } from '../../../src/upstream/connect/connection.ts';
import { Link } from '../../../src/upstream/connect/link.ts';
import { withDeadline } from '../../support/wait.ts';

/** A connection to a server, and the server's end of it. */
async function setUp(): Promise<{ connection: Connection; far: Socket }> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const connection = new Connection((onread) => connect({ host: '127.0.0.1', port, onread }));
  const [far] = (await once(server, 'connection')) as [Socket];
  onTestFinished(() => {
    connection.socket.destroy();
    far.destroy();
    server.close();
  });
  return { connection, far };
}

function listeners({ socket }: Connection): Record<string, number> {
  return Object.fromEntries(
    ['end', 'error', 'close', 'data'].map((name) => [name, socket.listenerCount(name)]),
  );
}

test('a link gives all bytes that came before the end, though they are read after it', async () => {
  const { connection, far } = await setUp();
  const link = new Link(connection);
  const closed = once(connection.socket, 'close');
  far.end('x'.repeat(10_000));
  await withDeadline(closed, 'the connection to end');
  expect((await link.toArray()).join('')).toBe('x'.repeat(10_000));
});

test('a link leaves nothing on a connection that it gives away', async () => {
  const { connection } = await setUp();
  const before = listeners(connection);
  for (let count = 0; count < 20; count++) {
    const link = new Link(connection);
    link.detach();
    link.destroy();
  }
  expect(listeners(connection)).toEqual(before);
  expect(connection.socket.destroyed).toBe(false);
});
