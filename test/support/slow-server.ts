import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';
import { launch } from './launch.ts';
import { eventually } from './wait.ts';

const SYN_SENT = '02';
/** More than wait to be accepted with a backlog of one. */
const FILLERS = 4;

const SERVER = `
  const server = require('node:http').createServer((request, response) => response.end('{}'));
  server.listen({ host: '127.0.0.1', port: 0, backlog: 1 }, () => console.log(server.address().port));
`;

/**
 * An HTTP server whose connections take a second and more: it is stopped, and its backlog is full, so that the system
 * drops the first attempt and hears the next one, a second later, once `wake` was called.
 */
export interface SlowServer {
  readonly port: number;
  /** Resolves when one more connection than those that fill the backlog is being tried. */
  tried(): Promise<void>;
  wake(): void;
}

export async function startSlowServer(): Promise<SlowServer> {
  const child = launch({ program: process.execPath, args: ['-e', SERVER] });
  const [line] = (await once(child.stdout ?? child, 'data')) as [Buffer];
  const port = Number(line.toString());
  const fillers: Socket[] = [];
  onTestFinished(() => {
    for (const socket of fillers) socket.destroy();
    child.kill('SIGKILL');
  });
  child.kill('SIGSTOP');
  for (let count = 0; count < FILLERS; count++) {
    fillers.push(connect(port, '127.0.0.1').on('error', () => undefined));
  }
  const trying = () => attempts(port);
  await eventually(async () => (await trying()) > 0, 'the backlog to be full');
  const before = await trying();
  return {
    port,
    tried: async () => void (await eventually(async () => (await trying()) > before, 'another attempt')),
    wake: () => void child.kill('SIGCONT'),
  };
}

/** Connections of this machine to a port that wait for an answer, by the table of the kernel. */
async function attempts(port: number): Promise<number> {
  const table = await readFile('/proc/self/net/tcp', 'latin1');
  const rows = table.split('\n').map((row) => row.trim().split(/\s+/));
  return rows.filter(([, , remote = '', state]) => {
    return state === SYN_SENT && Number.parseInt(remote.split(':')[1] ?? '', 16) === port;
  }).length;
}
