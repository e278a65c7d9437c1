import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ClientTls } from './client-tls.ts';
import { clientConfig } from './client-config.ts';
import { run } from './commands.ts';
import { tempFolder, type TempFolder } from './temp.ts';

export interface PodmanOptions {
  /** `host:port` of the mirror of docker.io; the real one is out of reach. */
  readonly mirror: string;
  /** The mirror has TLS. */
  readonly tls?: ClientTls;
}

/** A Podman with a storage of its own, empty at first. It runs no service. */
export class Podman {
  readonly #folder: TempFolder;

  constructor(folder: TempFolder) {
    this.#folder = folder;
  }

  /** Runs `podman <args>` and gives its standard output, trimmed. Throws if it fails. */
  async podman(...args: readonly string[]): Promise<string> {
    const path = (name: string): string => join(this.#folder.path, name);
    const storage = ['--storage-driver', 'vfs', '--root', path('root'), '--runroot', path('run')];
    const rest = ['--tmpdir', path('tmp'), '--events-backend', 'none', '--cgroup-manager', 'cgroupfs'];
    const env = { CONTAINERS_REGISTRIES_CONF: path('registries.conf'), HOME: path('home') };
    const { stdout } = await run({ program: 'podman', args: [...storage, ...rest, ...args], env });
    return stdout.toString().trim();
  }

  async close(): Promise<void> {
    await this.#folder.remove();
  }
}

/** A Podman that asks a mirror; `close()` it. */
export async function createPodman(options: PodmanOptions): Promise<Podman> {
  const folder = await tempFolder();
  const { mirror, tls } = options;
  const config = await clientConfig(tls === undefined ? 'registries.conf' : 'tls/registries.conf', mirror);
  if (tls !== undefined) {
    // Beside /etc/containers/certs.d the user's own folder counts (containers-certs.d(5)).
    const certificates = join(folder.path, 'home/.config/containers/certs.d', mirror);
    await mkdir(certificates, { recursive: true });
    await copyFile(tls.ca, join(certificates, 'ca.crt'));
    if (tls.client !== undefined) {
      await copyFile(tls.client.cert, join(certificates, 'client.cert'));
      await copyFile(tls.client.key, join(certificates, 'client.key'));
    }
  }
  await writeFile(join(folder.path, 'registries.conf'), config);
  return new Podman(folder);
}
