import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ClientTls } from './client-tls.ts';
import { clientConfig } from './client-config.ts';
import { run, type Outcome } from './commands.ts';
import { unmountBelow } from './mounts.ts';
import { startServer, type RunningProcess } from './processes.ts';
import { tempFolder, type TempFolder } from './temp.ts';

export interface ContainerdOptions {
  /** `host:port` of the mirror of docker.io; the real one is out of reach. */
  readonly mirror: string;
  /** A registry besides docker.io that it is to be asked for, too. */
  readonly alsoFor?: string;
  /** The mirror has TLS. */
  readonly tls?: ClientTls;
}

/** A containerd of its own, with an empty content store. */
export class Containerd {
  readonly #process: RunningProcess;
  readonly #folder: TempFolder;

  constructor(process: RunningProcess, folder: TempFolder) {
    this.#process = process;
    this.#folder = folder;
  }

  /** `ctr images pull` of e.g. `docker.io/library/golang:latest`, which unpacks it too. */
  async pull(reference: string, ...flags: readonly string[]): Promise<Outcome> {
    return this.ctr('images', 'pull', '--hosts-dir', hostsPath(this.#folder), ...flags, reference);
  }

  /** `ctr content fetch` of the same, which unpacks nothing. */
  async fetch(reference: string, ...flags: readonly string[]): Promise<Outcome> {
    return this.ctr('content', 'fetch', '--hosts-dir', hostsPath(this.#folder), ...flags, reference);
  }

  /** The digests of everything in the content store, sorted. */
  async contentDigests(): Promise<string[]> {
    const { stdout } = await this.ctr('content', 'ls', '--quiet');
    return stdout.toString().split('\n').filter(Boolean).sort();
  }

  /** Runs `ctr <args>`. Throws if it fails. */
  ctr(...args: readonly string[]): Promise<Outcome> {
    return run({ program: 'ctr', args: ['--address', socketPath(this.#folder), ...args] });
  }

  async close(): Promise<void> {
    await this.#process.stop();
    await unmountBelow(this.#folder.path);
    await this.#folder.remove();
  }
}

/** A containerd that answers; `close()` it. */
export async function startContainerd(options: ContainerdOptions): Promise<Containerd> {
  const folder = await tempFolder();
  const path = (name: string): string => join(folder.path, name);
  const { alsoFor } = options;
  const hosts = await hostsToml(options);
  await writeHosts(folder, 'docker.io', hosts);
  if (alsoFor !== undefined)
    await writeHosts(folder, alsoFor, hosts.replace('registry-1.docker.io', alsoFor));
  await writeFile(
    path('config.toml'),
    `version = 2
root = "${path('root')}"
state = "${path('state')}"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "${socketPath(folder)}"
[plugins."io.containerd.internal.v1.opt"]
path = "${path('opt')}"
`,
  );
  const [process] = await startServer({
    program: 'containerd',
    args: ['--config', path('config.toml')],
    ready: ({ stderr }) => stderr.includes('containerd successfully booted') || undefined,
    readyLabel: 'word that it has booted',
    folder,
  });
  return new Containerd(process, folder);
}

async function writeHosts(folder: TempFolder, registry: string, text: string): Promise<void> {
  await mkdir(join(hostsPath(folder), registry), { recursive: true });
  await writeFile(join(hostsPath(folder), registry, 'hosts.toml'), text);
}

async function hostsToml({ mirror, tls }: ContainerdOptions): Promise<string> {
  if (tls === undefined) return clientConfig('hosts.toml', mirror);
  const text = await clientConfig('tls/hosts.toml', mirror);
  const trusting = text.replace('/etc/containerd/certs.d/docker.io/pierhead-ca.crt', tls.ca);
  if (trusting === text) throw new Error('the file names another authority');
  const { client } = tls;
  return client === undefined ? trusting : `${trusting}  client = [["${client.cert}", "${client.key}"]]\n`;
}

function socketPath(folder: TempFolder): string {
  return join(folder.path, 'containerd.sock');
}

function hostsPath(folder: TempFolder): string {
  return join(folder.path, 'hosts');
}
