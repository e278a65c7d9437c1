import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { mkdir, stat, writeFile } from 'node:fs/promises';
import { request, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Blob, Manifest } from './content.ts';
import { freePort, startServer, type ServerProcess } from './server-process.ts';

const QUIET_MS = 500;

/** The registry that every contestant caches: Debian's docker-registry on a directory, filled by push. */
export interface UpstreamRegistry {
  readonly url: string;
  /**
   * Bytes of blobs that it has sent since the call before. They come from its own access log: a relay that
   * counts would take processor time from the contestants, of which there are only a few cores.
   */
  takeBlobBytesSent(): Promise<number>;
  stop(): Promise<void>;
}

/** What it is filled with. */
export interface PushedImage {
  readonly repository: string;
  readonly tag: string;
  readonly blobs: readonly Blob[];
  readonly images: readonly Manifest[];
  readonly index: Manifest;
}

export async function startUpstream(
  folder: string,
  content: readonly PushedImage[],
): Promise<UpstreamRegistry> {
  const port = await freePort();
  await mkdir(folder, { recursive: true });
  const config = join(folder, 'config.yml');
  await writeFile(
    config,
    `version: 0.1
log: { level: info, formatter: json }
storage:
  cache: { blobdescriptor: inmemory }
  filesystem: { rootdirectory: ${join(folder, 'store')} }
http: { addr: "127.0.0.1:${port}" }
`,
  );
  const server = await startServer({
    name: 'upstream',
    command: 'docker-registry',
    args: ['serve', config],
    port,
    folder,
  });
  try {
    for (const image of content) await push(server.url, image);
  } catch (error) {
    await server.stop();
    throw error;
  }
  const takeBlobBytesSent = byteCounter(server);
  await takeBlobBytesSent();
  return { url: server.url, takeBlobBytesSent, stop: () => server.stop() };
}

function byteCounter(server: ServerProcess): () => Promise<number> {
  let read = 0;
  return async () => {
    await quiet(server);
    const log = await text(createReadStream(server.logPath, { start: read }));
    read += Buffer.byteLength(log);
    const served = log
      .split('\n')
      .filter((line) => line.includes('"response completed'))
      .map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>)
      .filter(isBlobDownload);
    return served.reduce((sum, entry) => sum + Number(entry['http.response.written']), 0);
  };
}

/** The log counts what a handler wrote, for a HEAD too, whose body never leaves the process. */
function isBlobDownload(entry: Readonly<Record<string, unknown>>): boolean {
  return entry['http.request.method'] === 'GET' && String(entry['http.request.uri']).includes('/blobs/');
}

/**
 * Waits until nothing has happened for half a second: a transfer is logged only when it ends, and one that the
 * contestant started for itself may outlast its client. While one runs, the process uses processor time.
 */
async function quiet(server: ServerProcess): Promise<void> {
  for (let before = '', now = 'started'; before !== now;) {
    before = now;
    await sleep(QUIET_MS);
    now = `${(await stat(server.logPath)).size} ${(await server.processorTime()).all}`;
  }
}

async function push(url: string, content: PushedImage): Promise<void> {
  const base = `${url}/v2/${content.repository}`;
  for (const blob of content.blobs) await pushBlob(base, blob);
  for (const image of content.images) await pushManifest(base, image.digest, image);
  await pushManifest(base, content.tag, content.index);
}

/** OCI distribution-spec, "Pushing a blob monolithically": POST, then PUT. */
async function pushBlob(base: string, blob: Blob): Promise<void> {
  const started = await send('POST', `${base}/blobs/uploads/`, [], { 'content-length': 0 });
  const location = new URL(started.headers.location ?? '', base);
  location.searchParams.set('digest', blob.digest);
  await send('PUT', location.href, blob.chunks(), {
    'content-type': 'application/octet-stream',
    'content-length': blob.size,
  });
}

async function pushManifest(base: string, reference: string, manifest: Manifest): Promise<void> {
  await send('PUT', `${base}/manifests/${reference}`, [manifest.bytes], {
    'content-type': manifest.mediaType,
    'content-length': manifest.bytes.length,
  });
}

async function send(
  method: string,
  url: string,
  chunks: Iterable<Buffer>,
  headers: OutgoingHttpHeaders,
): Promise<IncomingMessage> {
  const outgoing = request(url, { method, headers, agent: false });
  const answered = once(outgoing, 'response') as Promise<[IncomingMessage]>;
  await pipeline(Readable.from(chunks, { objectMode: false }), outgoing);
  const [response] = await answered;
  response.resume();
  await once(response, 'end');
  const status = response.statusCode ?? 0;
  if (status < 200 || status > 299) throw new Error(`${method} ${url}: ${status}`);
  return response;
}
