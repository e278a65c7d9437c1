import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { Redis } from 'ioredis';
import { onTestFinished } from 'vitest';
import { testFolder } from './temp.ts';
import { eventually } from './wait.ts';

export interface TestRedis {
  readonly url: string;
  readonly client: Redis;
  pause(): void;
  resume(): void;
  stop(): Promise<void>;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** A real redis-server on loopback that keeps nothing on disk, until the running test ends. */
export async function startRedis(): Promise<TestRedis> {
  const port = await freePort();
  const folder = await testFolder();
  const args = [
    '--port',
    String(port),
    '--bind',
    '127.0.0.1',
    '--dir',
    folder,
    '--save',
    '',
    '--appendonly',
    'no',
  ];
  const child = spawn('redis-server', args, { stdio: 'ignore' });
  const exited = once(child, 'exit');
  const url = `redis://127.0.0.1:${port}`;
  const client = new Redis(url, { retryStrategy: () => 20, maxRetriesPerRequest: null });
  client.on('error', () => undefined);
  const stop = async (): Promise<void> => {
    client.disconnect();
    child.kill('SIGCONT');
    child.kill('SIGKILL');
    await exited;
  };
  onTestFinished(stop);
  await eventually(async () => (await client.ping()) === 'PONG', 'redis-server to answer');
  return { url, client, pause: () => child.kill('SIGSTOP'), resume: () => child.kill('SIGCONT'), stop };
}
