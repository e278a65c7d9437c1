import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { clientConfig } from './client-config.ts';
import { attempt, run, type Outcome } from './commands.ts';
import { unmountBelow } from './mounts.ts';
import { start, startServer, type RunningProcess } from './processes.ts';
import { tempFolder, type TempFolder } from './temp.ts';

/** Debian's command; a newer one of the user's own must not come first. */
const DOCKER = '/usr/bin/docker';
const BUILD_MS = 300_000;

export interface DockerdOptions {
  /** `host:port` of the mirror of Docker Hub; the real one is out of reach. */
  readonly mirror: string;
  /** The mirror has TLS, and the engine goes to all hosts through this proxy. */
  readonly tls?: { readonly proxyUrl: string };
}

/** A Docker Engine of its own: images, containers and socket in a folder, no bridge, no firewall rules. */
export class Dockerd {
  readonly #process: RunningProcess;
  readonly #folder: TempFolder;

  constructor(process: RunningProcess, folder: TempFolder) {
    this.#process = process;
    this.#folder = folder;
  }

  /** Runs `docker <args>` and gives its standard output, trimmed. Throws if it fails. */
  async docker(...args: readonly string[]): Promise<string> {
    return (await run(this.#command(args))).stdout.toString().trim();
  }

  /** Runs `docker <args>` to its end, whatever that is. */
  attempt(...args: readonly string[]): Promise<Outcome> {
    return attempt(this.#command(args));
  }

  /** Has the user logged in at Docker Hub, which is out of reach. */
  async logInAtDockerHub({
    name,
    password,
  }: {
    readonly name: string;
    readonly password: string;
  }): Promise<void> {
    const auth = Buffer.from(`${name}:${password}`).toString('base64');
    const folder = join(this.#folder.path, 'client');
    await mkdir(folder, { recursive: true });
    const config = { auths: { 'https://index.docker.io/v1/': { auth } } };
    await writeFile(join(folder, 'config.json'), JSON.stringify(config));
  }

  /** `docker build` with either builder. Gives all of its output. */
  async build(options: BuildOptions): Promise<string> {
    const { contextPath, tag, builder = 'classic', network = 'none' } = options;
    const env = { DOCKER_BUILDKIT: builder === 'buildkit' ? '1' : '0' };
    const flags = ['--network', network, '--no-cache', '--progress', 'plain', '--tag', tag];
    const { stdout, stderr } = await run(
      { ...this.#command(['build', ...flags, contextPath]), env },
      BUILD_MS,
    );
    return stdout.toString() + stderr;
  }

  /** Forgets every image and what builds have cached, so that the next pull starts from nothing. */
  async removeImages(): Promise<void> {
    await this.docker('builder', 'prune', '--all', '--force');
    await this.docker('image', 'prune', '--all', '--force');
  }

  /** Runs `docker <args>` for as long as it lasts, e.g. `run`, which passes SIGTERM on to its container. */
  start(...args: readonly string[]): Promise<RunningProcess> {
    return start(this.#command(args));
  }

  async close(): Promise<void> {
    await this.#process.stop();
    await unmountBelow(this.#folder.path);
    await this.#folder.remove();
  }

  #command(args: readonly string[]) {
    const config = join(this.#folder.path, 'client');
    return { program: DOCKER, args: ['--config', config, '--host', socketOf(this.#folder), ...args] };
  }
}

export interface BuildOptions {
  /** The folder with the Dockerfile. */
  readonly contextPath: string;
  readonly tag: string;
  /** Default `classic`. */
  readonly builder?: 'classic' | 'buildkit';
  /** Of the containers that run its steps: `host` is this machine's. Default `none`. */
  readonly network?: 'none' | 'host';
}

/** A Docker Engine that answers; `close()` it. */
export async function startDockerd(options: DockerdOptions): Promise<Dockerd> {
  const folder = await tempFolder();
  const path = (name: string): string => join(folder.path, name);
  const mirrors = options.tls === undefined ? 'daemon.json' : 'tls/daemon.json';
  const configuration = {
    ...(JSON.parse(await clientConfig(mirrors, options.mirror)) as Readonly<Record<string, unknown>>),
    'data-root': path('data'),
    'exec-root': path('exec'),
    pidfile: path('dockerd.pid'),
    hosts: [socketOf(folder)],
    bridge: 'none',
    iptables: false,
    ip6tables: false,
  };
  await writeFile(path('daemon.json'), JSON.stringify(configuration));
  const [process] = await startServer({
    program: 'dockerd',
    args: ['--config-file', path('daemon.json')],
    ...(options.tls === undefined ? {} : { env: { HTTPS_PROXY: options.tls.proxyUrl } }),
    ready: ({ stderr }) => stderr.includes('API listen on') || undefined,
    readyLabel: 'word that the API listens',
    folder,
  });
  return new Dockerd(process, folder);
}

function socketOf(folder: TempFolder): string {
  return `unix://${join(folder.path, 'docker.sock')}`;
}
