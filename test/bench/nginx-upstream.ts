import { mkdir, open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createTlsSet } from '../../src/setup/certificates.ts';
import { freePort, startServer, type ServerProcess } from './server-process.ts';
import type { SparseBlob } from './sparse-blobs.ts';

export interface NginxUpstreamOptions {
  /** Of the server, in its messages. */
  readonly name: string;
  /** Empty or not there. */
  readonly folder: string;
  /** For what it does not have itself. */
  readonly registryUrl: string;
  /** What is done with requests for blobs: lines of nginx's configuration. */
  readonly blobs: string;
  /** Of the server: further lines. */
  readonly listens?: string;
}

/** nginx before a registry. */
export async function startNginxUpstream(options: NginxUpstreamOptions): Promise<ServerProcess> {
  const { name, folder } = options;
  const port = await freePort();
  await mkdir(folder, { recursive: true });
  const config = join(folder, 'nginx.conf');
  await writeFile(config, configuration(port, options));
  const args = ['-c', config, '-p', folder, '-e', 'error.log'];
  return startServer({ name, command: 'nginx', args, port, folder });
}

export interface TorrentOptions {
  readonly folder: string;
  readonly registryUrl: string;
  readonly blobs: readonly SparseBlob[];
  /** For each connection. */
  readonly bytesPerSecond: number;
  /** It sends as much at once, and then pauses; default 2 MiB, which is nginx's own. */
  readonly pieceBytes?: number;
}

/** A registry that has `blobs` besides, and sends each at its own pace: by sendfile, which costs it next to nothing. */
export async function startTorrent(options: TorrentOptions): Promise<ServerProcess> {
  const { folder, registryUrl, blobs, pieceBytes = 2 * 1024 * 1024 } = options;
  const files = join(folder, 'files');
  await mkdir(files, { recursive: true });
  for (const { digest, size } of blobs) {
    const file = await open(join(files, digest), 'w');
    await file.truncate(size);
    await file.close();
  }
  return startNginxUpstream({
    name: 'torrent',
    folder,
    registryUrl,
    blobs: `default_type application/octet-stream;
      root ${files};
      sendfile on;
      sendfile_max_chunk ${pieceBytes};
      limit_rate ${Math.ceil(options.bytesPerSecond)};
      try_files /$1 @registry;`,
  });
}

/** A registry by TLS, with a certificate that nobody vouches for but its own authority, which is in `caFile`. */
export async function startTlsUpstream({
  folder,
  registryUrl,
}: Pick<NginxUpstreamOptions, 'folder' | 'registryUrl'>): Promise<
  Pick<ServerProcess, 'url' | 'stop'> & { readonly caFile: string }
> {
  await mkdir(folder, { recursive: true });
  for (const { name, text } of createTlsSet(['127.0.0.1'], new Date())) {
    await writeFile(join(folder, name), text);
  }
  const port = await freePort();
  const server = await startNginxUpstream({
    name: 'tls',
    folder,
    registryUrl,
    listens: `listen 127.0.0.1:${port} ssl;
    ssl_certificate ${join(folder, 'server.crt')};
    ssl_certificate_key ${join(folder, 'server.key')};`,
    // Not by way of the disk, and in pieces as large as the registry's own.
    blobs: `proxy_pass ${registryUrl};
      proxy_max_temp_file_size 0;
      proxy_buffers 16 64k;`,
  });
  return {
    url: `https://127.0.0.1:${port}`,
    caFile: join(folder, 'ca.crt'),
    stop: () => server.stop(),
  };
}

function configuration(port: number, { registryUrl, blobs, listens = '' }: NginxUpstreamOptions): string {
  // Started by root, nginx would hand its worker to an account that cannot read the folder.
  const user = process.getuid?.() === 0 ? 'user root;' : '';
  return `daemon off;
${user}
pid nginx.pid;
worker_processes 1;
events { worker_connections 1024; }
http {
  access_log off;
  client_body_temp_path client;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  server {
    listen 127.0.0.1:${port};
    ${listens}
    location / { proxy_pass ${registryUrl}; }
    location @registry { proxy_pass ${registryUrl}; }
    location ~ ^/v2/.+/blobs/(.+)$ {
      ${blobs}
    }
  }
}
`;
}
