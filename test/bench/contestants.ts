import { execFileSync } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { NO_TIME } from './processor-time.ts';
import { programVersion } from './programs.ts';
import { freePort, startServer, type ServerProcess } from './server-process.ts';

/** Something to pull from, which the bench can start: a caching proxy on an empty cache, or upstream itself. */
export interface Contestant {
  readonly name: string;
  readonly version: string;
  /** How it is set up, for the report. */
  readonly setup: string;
  start(options: StartOptions): Promise<ServerProcess>;
}

export interface StartOptions {
  readonly upstreamUrl: string;
  /** Who vouches for upstream besides those whom all trust. */
  readonly caFile?: string | undefined;
  /** Empty; cache, configuration and log go here. */
  readonly folder: string;
  /** Of Pierhead, by flag without its dashes. */
  readonly settings?: Readonly<Record<string, string>>;
}

export interface PierheadOptions {
  /** Default `pierhead`. */
  readonly name?: string;
  /** The checkout, which holds `dist/main.js`. */
  readonly root: string;
  /** The Node binary. */
  readonly node: string;
  readonly nodeArgs?: readonly string[];
  /** Further settings by the names of their flags, e.g. `{ 'tag-ttl': '0s' }`. */
  readonly settings?: Readonly<Record<string, string>>;
}

export function pierhead(options: PierheadOptions): Contestant {
  const { name = 'pierhead', root, node, nodeArgs = [], settings = {} } = options;
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  return {
    name,
    version: `Pierhead ${version}, Node ${nodeVersion(node)}`,
    setup: 'defaults, embedded store, no Redis; log at its default level, to a file',
    async start({ upstreamUrl, caFile, folder, settings: more = {} }) {
      const port = await freePort();
      const serve = [join(root, 'dist/main.js'), 'serve'];
      const all = {
        listen: `127.0.0.1:${port}`,
        'admin-listen': 'off',
        'data-dir': join(folder, 'data'),
        upstream: upstreamUrl,
        ...settings,
        ...more,
      };
      const flags = Object.entries(all).flatMap(([key, value]) => [`--${key}`, value]);
      return startServer({
        name,
        command: node,
        args: [...nodeArgs, ...serve, ...flags],
        port,
        folder,
        env: caFile === undefined ? {} : { PIERHEAD_UPSTREAM_CA: caFile },
      });
    },
  };
}

export function dockerRegistryProxy(): Contestant {
  return {
    name: 'docker-registry',
    version: programVersion('docker-registry'),
    setup:
      '`proxy.remoteurl`, file system store, in-memory descriptor cache; access log to a file (its default)',
    async start({ upstreamUrl, caFile, folder }) {
      const port = await freePort();
      const config = join(folder, 'config.yml');
      await writeFile(
        config,
        `version: 0.1
log: { level: info }
storage:
  cache: { blobdescriptor: inmemory }
  filesystem: { rootdirectory: ${join(folder, 'store')} }
  delete: { enabled: true }
proxy: { remoteurl: "${upstreamUrl}" }
http: { addr: "127.0.0.1:${port}" }
`,
      );
      return startServer({
        name: 'docker-registry',
        command: 'docker-registry',
        args: ['serve', config],
        port,
        folder,
        env: caFile === undefined ? {} : { SSL_CERT_FILE: caFile },
      });
    },
  };
}

export function nginxProxyCache(): Contestant {
  return {
    name: 'nginx',
    version: programVersion('nginx'),
    setup:
      '1 worker; `proxy_cache` with `proxy_cache_lock`; manifests keyed by URI and Accept, tags kept 60 s; ' +
      '`sendfile`; access log to a file (its default)',
    async start({ upstreamUrl, folder }) {
      const port = await freePort();
      const config = join(folder, 'nginx.conf');
      await mkdir(join(folder, 'cache'));
      await mkdir(join(folder, 'tmp'));
      await writeFile(config, nginxConfig(upstreamUrl, port, folder));
      const args = ['-c', config, '-p', folder, '-e', 'error.log'];
      return startServer({ name: 'nginx', command: 'nginx', args, port, folder });
    },
  };
}

/**
 * What a careful operator writes: followers wait for the whole of a running fill rather than fetch for themselves
 * (`proxy_cache_lock_timeout`, `proxy_cache_lock_age`; 5 s each by default), tags are revalidated behind the client.
 */
function nginxConfig(upstreamUrl: string, port: number, folder: string): string {
  // Started by root, nginx would hand its worker to an account that cannot write into the folder.
  const user = process.getuid?.() === 0 ? 'user root;' : '';
  return `daemon off;
${user}
pid nginx.pid;
worker_processes 1;
events { worker_connections 1024; }
http {
  access_log access.log;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000;
  client_body_temp_path tmp/client;
  proxy_temp_path tmp/proxy;
  fastcgi_temp_path tmp/fastcgi;
  uwsgi_temp_path tmp/uwsgi;
  scgi_temp_path tmp/scgi;
  proxy_cache_path ${folder}/cache levels=1:2 keys_zone=registry:10m max_size=20g inactive=60d use_temp_path=off;
  upstream hub { server ${new URL(upstreamUrl).host}; keepalive 16; }
  server {
    listen 127.0.0.1:${port} backlog=1024;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_cache registry;
    proxy_cache_lock on;
    proxy_cache_lock_age 15m;
    proxy_cache_lock_timeout 15m;
    proxy_cache_use_stale error timeout updating http_500 http_502 http_503 http_504 http_429;
    proxy_cache_background_update on;
    proxy_buffers 16 64k;
    proxy_buffer_size 64k;
    proxy_busy_buffers_size 128k;
    location = /v2/ { return 200; }
    location ~ ^/v2/.+/manifests/sha256: {
      proxy_pass http://hub;
      proxy_cache_key "$uri|$http_accept";
      proxy_cache_valid 200 60d;
    }
    location ~ ^/v2/.+/manifests/ {
      proxy_pass http://hub;
      proxy_cache_key "$uri|$http_accept";
      proxy_cache_valid 200 60s;
    }
    location ~ ^/v2/.+/blobs/ {
      proxy_pass http://hub;
      proxy_cache_key "$uri";
      proxy_cache_valid 200 60d;
    }
  }
}
`;
}

/** What Node itself takes of a hot answer: all that is more is Pierhead's own. */
export function bareNode(root: string, node: string): Contestant {
  return {
    name: 'node',
    version: `Node ${nodeVersion(node)}`,
    setup: '`node:http` that sends from memory what Pierhead sends, and does nothing else; no log',
    async start({ upstreamUrl, folder }) {
      const port = await freePort();
      const args = [join(root, 'test/bench/bare-server.mjs'), String(port), upstreamUrl];
      return startServer({ name: 'node', command: node, args, port, folder });
    },
  };
}

function nodeVersion(node: string): string {
  return execFileSync(node, ['--version'], { encoding: 'utf8' }).trim();
}

/** No cache at all: clients are sent to where the others fetch. */
export function direct(): Contestant {
  return {
    name: 'direct',
    version: 'upstream itself',
    setup: 'what the client would do without a mirror',
    start: ({ upstreamUrl, folder }) =>
      Promise.resolve({
        url: upstreamUrl,
        pid: process.pid,
        readyMs: 0,
        logPath: join(folder, 'direct.log'),
        ending: undefined,
        processorTime: () => Promise.resolve(NO_TIME),
        stop: () => Promise.resolve(),
      }),
  };
}
