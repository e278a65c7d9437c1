import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { Digest } from '../../src/oci/digest.ts';
import { freePort } from './free-port.ts';
import { startServer } from './processes.ts';
import { tempFolder } from './temp.ts';

export interface NginxRegistryOptions {
  /** Under any repository. */
  readonly blobs: ReadonlyMap<Digest, Buffer>;
  /** Lines of its configuration, e.g. `keepalive_timeout 0;`. */
  readonly configuration: string;
}

/** Debian's nginx as a registry that has blobs and nothing else, until the running test ends. Gives its URL. */
export async function startNginxRegistry({ blobs, configuration }: NginxRegistryOptions): Promise<string> {
  const folder = await tempFolder();
  const port = await freePort();
  const root = join(folder.path, 'blobs');
  await mkdir(root);
  for (const [digest, bytes] of blobs) await writeFile(join(root, digest), bytes);
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (kind) => `${kind}_temp_path ${join(folder.path, kind)};`,
  );
  const config = join(folder.path, 'nginx.conf');
  await writeFile(
    config,
    `daemon off;
    # Started by root, it would hand its worker to an account that cannot read the folder.
    ${process.getuid?.() === 0 ? 'user root;' : ''}
    pid ${join(folder.path, 'pid')};
    error_log stderr notice;
    events {}
    http {
      ${temporary.join('\n')}
      access_log off;
      default_type application/octet-stream;
      ${configuration}
      server {
        listen 127.0.0.1:${port};
        location = /v2/ { return 200 '{}'; }
        location ~ /blobs/(sha256:[0-9a-f]+)$ { root ${root}; try_files /$1 =404; }
      }
    }`,
  );
  const [server] = await startServer({
    program: 'nginx',
    args: ['-c', config, '-e', 'stderr'],
    ready: ({ stderr }) => (stderr.includes('start worker process ') ? 'ready' : undefined),
    readyLabel: 'first worker',
    folder,
  });
  onTestFinished(async () => {
    server.signal('SIGTERM');
    await server.ended();
    await folder.remove();
  });
  return `http://127.0.0.1:${port}`;
}
