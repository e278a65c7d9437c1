import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { CLIENT_HEADERS } from './load.ts';

const run = promisify(execFile);

export interface OpenLoadOptions {
  readonly url: string;
  /** Requests that are due, evenly spaced, whether or not the ones before have been answered. */
  readonly perSecond: number;
  readonly seconds: number;
  readonly connections: number;
}

/** What the client is told: its only argument, as JSON. */
export interface OpenLoadOrder extends OpenLoadOptions {
  readonly headers: Readonly<Record<string, string>>;
}

/** From when each request was due to the last byte of its answer: who had to wait for its turn has waited as well. */
export interface OpenLoad {
  readonly requests: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** Runs in a process of its own, so that nothing else delays it. Throws if any request failed. */
export async function openLoad(options: OpenLoadOptions): Promise<OpenLoad> {
  const order: OpenLoadOrder = { ...options, headers: CLIENT_HEADERS };
  const client = fileURLToPath(new URL('open-load-client.js', import.meta.url));
  const { stdout } = await run(process.execPath, [client, JSON.stringify(order)]);
  return JSON.parse(stdout) as OpenLoad;
}
