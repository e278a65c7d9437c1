import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { open, readFile } from 'node:fs/promises';
import { get } from 'node:http';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { processorTime, type ProcessorTime } from './processor-time.ts';
import { PROGRAM_PATH } from './programs.ts';

const READY_WITHIN_MS = 20_000;
/** How exactly it is known when it was ready. */
const ASK_EVERY_MS = 10;
const STOP_WITHIN_MS = 40_000;

/** None of them outlives the bench, however it ends. */
const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

export interface ServerProcess {
  readonly url: string;
  readonly pid: number;
  /** From the start of the process to its first good answer. */
  readonly readyMs: number;
  /** What it wrote to standard output and standard error. */
  readonly logPath: string;
  /** What it and its children have used so far. */
  processorTime(): Promise<ProcessorTime>;
  /** How it ended: an exit code, or the name of a signal; undefined while it runs. */
  readonly ending: number | NodeJS.Signals | undefined;
  /** SIGTERM, and SIGKILL if it is still there after 40 s. */
  stop(): Promise<void>;
}

export interface ServerCommand {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** On loopback; ready once `GET /v2/` answers. */
  readonly port: number;
  /** Its log goes here, and it runs here. */
  readonly folder: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** Starts a server and waits until it answers `GET /v2/`. Throws with the end of its log if it does not. */
export async function startServer(server: ServerCommand): Promise<ServerProcess> {
  const logPath = join(server.folder, `${server.name}.log`);
  const log = await open(logPath, 'a');
  const startedAt = performance.now();
  const child = spawn(server.command, server.args, {
    cwd: server.folder,
    env: { ...plainEnvironment(), ...server.env },
    stdio: ['ignore', log.fd, log.fd],
  });
  await Promise.race([once(child, 'spawn'), once(child, 'error').then(([error]) => Promise.reject(error))]);
  await log.close();
  running.add(child);
  child.once('exit', () => running.delete(child));
  const url = `http://127.0.0.1:${server.port}`;
  let readyMs: number;
  try {
    await ready(child, url);
    readyMs = performance.now() - startedAt;
  } catch (cause) {
    await stop(child);
    const tail = (await readFile(logPath, 'utf8')).slice(-2000);
    throw new Error(`${server.name} did not start; its log ends with:\n${tail}`, { cause });
  }
  return {
    url,
    pid: child.pid ?? 0,
    readyMs,
    logPath,
    get ending() {
      return child.signalCode ?? child.exitCode ?? undefined;
    },
    processorTime: () => processorTime(child.pid ?? 0),
    stop: () => stop(child),
  };
}

/** Settings of the caller's own shell must not reach the servers: no `PIERHEAD_*`, `REGISTRY_*`, no proxy. */
function plainEnvironment(): Record<string, string> {
  return { PATH: PROGRAM_PATH, HOME: '/nonexistent', LANG: 'C.UTF-8' };
}

async function ready(child: ChildProcess, url: string): Promise<void> {
  const end = performance.now() + READY_WITHIN_MS;
  while (performance.now() < end) {
    if (child.exitCode !== null) throw new Error(`exited with ${child.exitCode}`);
    if (await answers(`${url}/v2/`)) return;
    await sleep(ASK_EVERY_MS);
  }
  throw new Error(`no answer within ${READY_WITHIN_MS} ms`);
}

function answers(url: string): Promise<boolean> {
  return new Promise((resolve) => {
    get(url, { agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    }).on('error', () => resolve(false));
  });
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_WITHIN_MS);
  await exited;
  clearTimeout(timer);
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
