import { once } from 'node:events';
import { createServer } from 'node:net';
import { errorCode } from '../../src/lib/errors.ts';

/**
 * Below those that systems hand out by themselves (from 32768 on): what is stopped for a while, or is to refuse
 * connections, must not become another server by chance.
 */
const FIRST_PORT = 12_000;
/** Tests that run at the same time have ports of their own each. */
const PORTS = 1000;
const SHARES = 20;

const share = Number(process.env['VITEST_POOL_ID'] ?? 0) % SHARES;
let taken = Math.floor(Math.random() * PORTS);

/** A port of 127.0.0.1 that nobody listens on and nobody else is given soon, for a program that must be told one. */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < PORTS; tries++) {
    const port = FIRST_PORT + share * PORTS + (taken++ % PORTS);
    if (await isFree(port)) return port;
  }
  throw new Error(`somebody listens on all of the ${PORTS} ports from ${FIRST_PORT + share * PORTS} on`);
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
  } catch (error) {
    // Too many open files, say, tell nothing of the port.
    if (errorCode(error) !== 'EADDRINUSE') throw error;
    return false;
  }
  server.close();
  await once(server, 'close');
  return true;
}
