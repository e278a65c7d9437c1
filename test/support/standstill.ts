import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { Worker } from 'node:worker_threads';
import { onTestFinished } from 'vitest';

/** Keeps this process from running anything else for so long, as a busy machine does. */
export function standStill(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

const ECHO = `
  const { createServer } = require('node:net');
  const { parentPort } = require('node:worker_threads');
  const server = createServer((socket) => socket.pipe(socket).on('error', () => undefined));
  server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port));
`;

/** A connection to a server on a thread of its own, which answers at once whatever this one does. */
export async function connectToEcho(): Promise<Socket> {
  const worker = new Worker(ECHO, { eval: true });
  const [port] = (await once(worker, 'message')) as [number];
  const socket = connect(port, '127.0.0.1');
  onTestFinished(async () => {
    socket.destroy();
    await worker.terminate();
  });
  await once(socket, 'connect');
  return socket;
}
