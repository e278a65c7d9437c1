import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, open, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { PROGRAM_PATH } from './programs.ts';

const run = promisify(execFile);
const READY_WITHIN_MS = 30_000;

/** A Docker Engine with an empty store. */
export interface Dockerd {
  /** Resolves to the seconds that it took. */
  pull(image: string): Promise<number>;
  stop(): Promise<void>;
}

/** Starts one with everything in `folder`, and `mirror` (a URL) for Docker Hub. Needs root. */
export async function startDockerd(folder: string, mirror: string): Promise<Dockerd> {
  await mkdir(folder, { recursive: true });
  const path = (name: string): string => join(folder, name);
  const host = `unix://${path('docker.sock')}`;
  const configuration = {
    'registry-mirrors': [mirror],
    'data-root': path('data'),
    'exec-root': path('exec'),
    pidfile: path('dockerd.pid'),
    hosts: [host],
    bridge: 'none',
    iptables: false,
    ip6tables: false,
  };
  await writeFile(path('daemon.json'), JSON.stringify(configuration));
  const log = await open(path('dockerd.log'), 'a');
  const env = { PATH: PROGRAM_PATH, HOME: folder };
  const child = spawn('dockerd', ['--config-file', path('daemon.json')], {
    env,
    stdio: ['ignore', log.fd, log.fd],
  });
  await log.close();
  const kill = (): void => void child.kill('SIGKILL');
  process.once('exit', kill);
  const docker = (...args: string[]) => run('docker', ['--host', host, ...args], { env });
  for (const end = performance.now() + READY_WITHIN_MS; ; await sleep(50)) {
    if (
      await docker('version').then(
        () => true,
        () => false,
      )
    )
      break;
    if (child.exitCode !== null || performance.now() > end) {
      throw new Error(
        `dockerd did not start:\n${(await readFile(path('dockerd.log'), 'utf8')).slice(-2000)}`,
      );
    }
  }
  return {
    async pull(image) {
      const startedAt = performance.now();
      await docker('pull', '--quiet', image);
      return (performance.now() - startedAt) / 1000;
    },
    async stop() {
      const exited = once(child, 'exit');
      child.kill('SIGTERM');
      await exited;
      process.off('exit', kill);
      unmountBelow(folder);
      await rm(folder, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

/** What a Docker Engine leaves mounted in its folders cannot be removed. */
function unmountBelow(folder: string): void {
  const mounts = execFileSync('findmnt', ['--list', '--noheadings', '--output', 'TARGET'], {
    encoding: 'utf8',
  });
  const below = mounts.split('\n').filter((target) => target.startsWith(`${folder}/`));
  for (const target of below.toReversed()) execFileSync('umount', ['--lazy', target]);
}
