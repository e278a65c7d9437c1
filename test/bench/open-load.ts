import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { CLIENT_HEADERS, type Load } from './load.ts';
import { PROGRAM_PATH } from './programs.ts';

const run = promisify(execFile);

interface ClientOptions {
  /** Compiled by `compileOpenLoad`. */
  readonly client: string;
  /** Of a server with an IPv4 address. */
  readonly url: string;
  readonly seconds: number;
  readonly connections: number;
}

export interface OpenLoadOptions extends ClientOptions {
  /** Requests that are due, evenly spaced, whether or not the ones before have been answered. */
  readonly perSecond: number;
}

/** Compiles the client; resolves to its path in `folder`. */
export async function compileOpenLoad({ root, folder }: { root: string; folder: string }): Promise<string> {
  const client = join(folder, 'open-load-client');
  const source = join(root, 'test/bench/open-load-client.c');
  await run('gcc', ['-O2', '-o', client, source], { env: { PATH: PROGRAM_PATH } });
  return client;
}

/**
 * From when each request was due to the last byte of its answer: who had to wait for its turn has waited as well.
 * Throws if any request failed.
 */
export function openLoad({ perSecond, ...options }: OpenLoadOptions): Promise<Load> {
  return runClient(options, String(perSecond));
}

/** Each connection asks again as soon as it was answered, and the client never sleeps. Throws if any request failed. */
export function sleeplessLoad(options: ClientOptions): Promise<Load> {
  return runClient(options, 'sleepless');
}

async function runClient(options: ClientOptions, pace: string): Promise<Load> {
  const { client, seconds, connections } = options;
  const { hostname, port, host, pathname } = new URL(options.url);
  const headers = Object.entries({ Host: host, ...CLIENT_HEADERS }).map(
    ([name, value]) => `${name}: ${value}`,
  );
  const request = [`GET ${pathname} HTTP/1.1`, ...headers, '', ''].join('\r\n');
  const args = [hostname, port, pace, String(seconds), String(connections), request];
  const { stdout } = await run(client, args);
  return JSON.parse(stdout) as Load;
}
