import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startServer, type RunningProcess } from './processes.ts';
import { tempFolder, type TempFolder } from './temp.ts';

/** Whom a registry with `auth` knows. */
export const REGISTRY_USER = { name: 'tester', password: 'registry-secret-7f3a' } as const;

/** The same as bcrypt at its lowest cost, the only hash that distribution reads. */
const HTPASSWD = `${REGISTRY_USER.name}:$2b$04$abcdefghijklmnopqrstuu/l4eSEO6wAejtvvGcC8UbZ.2rJ5QN6a\n`;

export interface DockerRegistryOptions {
  /** `basic` wants `REGISTRY_USER` for everything, the ping too. Default `none`. */
  readonly auth?: 'none' | 'basic';
  /** Content to serve, which stays when the registry is closed. Default an empty folder of its own. */
  readonly storagePath?: string;
  /** It is a proxy cache in front of the registry at this URL. */
  readonly remoteUrl?: string;
}

/** Debian's docker-registry (distribution 2.8) on a free port of 127.0.0.1. */
export class DockerRegistry {
  readonly url: string;
  readonly #process: RunningProcess;
  readonly #folder: TempFolder;

  constructor(url: string, process: RunningProcess, folder: TempFolder) {
    this.url = url;
    this.#process = process;
    this.#folder = folder;
  }

  /** Switches it off: connecting is refused from now on. */
  async stop(): Promise<void> {
    this.#process.signal('SIGTERM');
    await this.#process.ended();
  }

  async close(): Promise<void> {
    await this.stop();
    await this.#folder.remove();
  }
}

/** A registry that listens; `close()` it. */
export async function startDockerRegistry(options: DockerRegistryOptions = {}): Promise<DockerRegistry> {
  const folder = await tempFolder();
  const { auth = 'none', remoteUrl, storagePath = join(folder.path, 'storage') } = options;
  const htpasswd = join(folder.path, 'htpasswd');
  const config = join(folder.path, 'config.json');
  await writeFile(htpasswd, HTPASSWD);
  // YAML, of which JSON is a part.
  await writeFile(
    config,
    JSON.stringify({
      version: '0.1',
      storage: { filesystem: { rootdirectory: storagePath } },
      http: { addr: '127.0.0.1:0' },
      ...(remoteUrl === undefined ? {} : { proxy: { remoteurl: remoteUrl } }),
      ...(auth === 'none' ? {} : { auth: { htpasswd: { realm: 'registry', path: htpasswd } } }),
    }),
  );
  const [process, host] = await startServer({
    program: 'docker-registry',
    args: ['serve', config],
    ready: ({ stderr }) => /listening on (127\.0\.0\.1:\d+)/.exec(stderr)?.[1],
    readyLabel: 'address that it listens on',
    folder,
  });
  return new DockerRegistry(`http://${host}`, process, folder);
}
