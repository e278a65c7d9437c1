import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Lane, startPacedLink } from './paced-link.ts';
import { freePort, startServer } from './server-process.ts';

export interface FarUpstreamOptions {
  /** The registry that it is. */
  readonly registryUrl: string;
  /** Empty or not there. */
  readonly folder: string;
  readonly roundTripMs: number;
  readonly bytesPerSecond: number;
}

/** A registry as far away as Docker Hub, which like that one sends who asks for a blob on to another host. */
export interface FarUpstream {
  readonly url: string;
  stop(): Promise<void>;
}

export async function startFarUpstream(options: FarUpstreamOptions): Promise<FarUpstream> {
  const { registryUrl, folder, roundTripMs } = options;
  const lane = new Lane(options.bytesPerSecond);
  const blobHost = await startPacedLink({ targetUrl: registryUrl, roundTripMs, lane });
  const port = await freePort();
  await mkdir(folder, { recursive: true });
  const config = join(folder, 'nginx.conf');
  await writeFile(config, frontConfig({ port, registryUrl, blobUrl: blobHost.url }));
  const args = ['-c', config, '-p', folder, '-e', 'error.log'];
  const front = await startServer({ name: 'front', command: 'nginx', args, port, folder });
  const link = await startPacedLink({ targetUrl: front.url, roundTripMs, lane });
  return {
    url: link.url,
    async stop() {
      await Promise.all([link.stop(), blobHost.stop()]);
      await front.stop();
    },
  };
}

function frontConfig(at: {
  readonly port: number;
  readonly registryUrl: string;
  readonly blobUrl: string;
}): string {
  const user = process.getuid?.() === 0 ? 'user root;' : '';
  return `daemon off;
${user}
pid nginx.pid;
worker_processes 1;
events { worker_connections 256; }
http {
  access_log off;
  client_body_temp_path client;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  server {
    listen 127.0.0.1:${at.port};
    location / { proxy_pass ${at.registryUrl}; }
    location ~ ^/v2/.+/blobs/ {
      if ($request_method = GET) { return 307 ${at.blobUrl}$request_uri; }
      proxy_pass ${at.registryUrl};
    }
  }
}
`;
}
