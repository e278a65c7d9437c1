import { createHash } from 'node:crypto';
import { closeSync, ftruncateSync, mkdirSync, openSync, rmSync } from 'node:fs';
import { mkdtemp, readFile, rm, stat, statfs, writeFile } from 'node:fs/promises';
import { Agent, get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { pathToFileURL } from 'node:url';
import { PROGRAM_PATH } from './programs.ts';
import { freePort, startServer, type ServerProcess } from './server-process.ts';

export const INDEX_USAGE = `npm run bench -- index [options]

Fills a data directory with sparse blobs and an index of them, and measures a server on it: how long it takes to be
ready, its memory, and how long hits take before and while the coldest images are evicted.

  --images <n>   manifests, each with ten blobs of its own (default 100000)
  --evict <n>    how many of them are to be evicted (default 1000)
  --keep <dir>   fill this folder, if that has not been done, and leave it there
  --node <path>  the Node binary that runs Pierhead (default: this one)
`;

const BLOBS_PER_IMAGE = 10;
const BLOB_BYTES = 16 * 1024;
const IMAGES_PER_STEP = 250;
const IMAGES_PER_REPOSITORY = 50;
const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json';
/** Requests per second, sent whether or not the ones before have been answered. */
const RATE = 200;
const QUIET_MS = 20_000;
/** Requests after which the server is asked how far it is. */
const ASK_EVERY = 50;
/** The warmest images: what is hit is never what is evicted. */
const HIT_SHARE = 0.5;

interface Options {
  readonly images: number;
  readonly evict: number;
  readonly keep: string | undefined;
  readonly node: string;
}

interface Image {
  readonly repository: string;
  readonly digest: string;
  readonly bytes: Buffer;
  readonly blobs: readonly { readonly digest: string; readonly size: number }[];
}

/** What the generator uses of the built index. */
interface Tables {
  readonly environment: {
    write(change: () => void, options: { frees: boolean }): Promise<void>;
    close(): Promise<void>;
  };
  readonly manifests: { put(manifest: object, usedAt: number): void };
  readonly blobs: { put(digest: string, size: number, usedAt: number): void };
  readonly links: { put(repository: string, digest: string, link: object): void };
  readonly repositories: { list(repository: string): void };
  readonly meta: { putSync(name: string, value: number): void };
}

/** Runs the measurement; resolves to the exit code. */
export async function measureIndex(argv: readonly string[], root: string): Promise<number> {
  const options = parse(argv);
  if (options === undefined) {
    say(INDEX_USAGE);
    return 0;
  }
  const folder = options.keep ?? (await mkdtemp(join(tmpdir(), 'pierhead-index-')));
  const dataDir = join(folder, 'data');
  if (options.keep === undefined) {
    process.once('exit', () => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }));
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
  try {
    const isFilled = await readFile(join(dataDir, 'filled'), 'utf8').then(
      (text) => text === filling(options),
      () => false,
    );
    if (!isFilled) await fill(dataDir, options, root);
    await measure({ dataDir, folder, options, root });
  } finally {
    if (options.keep === undefined) await rm(folder, { recursive: true, force: true });
  }
  return 0;
}

function parse(argv: readonly string[]): Options | undefined {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      images: { type: 'string', default: '100000' },
      evict: { type: 'string', default: '1000' },
      keep: { type: 'string' },
      node: { type: 'string', default: process.execPath },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return undefined;
  return {
    images: Number(values.images),
    evict: Number(values.evict),
    keep: values.keep,
    node: values.node,
  };
}

function filling({ images, evict }: Options): string {
  return `${images} images, ${evict} to be evicted\n`;
}

/** Blobs of the images to be evicted are larger, so that their removal takes the cache from one mark to the other. */
function sizeOf(image: number, { images, evict }: Options): number {
  const warm = (images - evict) * BLOBS_PER_IMAGE * BLOB_BYTES;
  // They are to be a little more than the 5 % between the marks of 95 % and 90 %.
  const cold = (warm * 0.0527) / (0.9473 * evict * BLOBS_PER_IMAGE);
  return image < evict ? Math.ceil(cold) : BLOB_BYTES;
}

function imageOf(image: number, options: Options): Image {
  const size = sizeOf(image, options);
  const blobs = Array.from({ length: BLOBS_PER_IMAGE }, (_, layer) => ({
    digest: `sha256:${createHash('sha256').update(`${image}/${layer}`).digest('hex')}`,
    size,
  }));
  const [config, ...layers] = blobs.map((blob, layer) => ({
    mediaType: `application/vnd.oci.image.${layer === 0 ? 'config.v1+json' : 'layer.v1.tar+gzip'}`,
    ...blob,
  }));
  const document = { schemaVersion: 2, mediaType: MANIFEST_TYPE, config, layers };
  const bytes = Buffer.from(JSON.stringify(document));
  const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  const repository = `docker.io/bench/repository-${Math.floor(image / IMAGES_PER_REPOSITORY)}`;
  return { repository, digest, bytes, blobs };
}

async function fill(dataDir: string, options: Options, root: string): Promise<void> {
  await rm(dataDir, { recursive: true, force: true });
  for (let folder = 0; folder < 256; folder++) {
    mkdirSync(join(dataDir, 'blobs/sha256', folder.toString(16).padStart(2, '0')), { recursive: true });
  }
  await writeFile(join(dataDir, 'version'), '2\n');
  const { IndexTables } = (await import(pathToFileURL(join(root, 'dist/store/index/tables.js')).href)) as {
    IndexTables: new (path: string, options: { readOnly: boolean }) => Tables;
  };
  const tables = new IndexTables(join(dataDir, 'index'), { readOnly: false });
  const startedAt = Date.now() - options.images * 1000 - 86_400_000;
  for (let first = 0; first < options.images; first += IMAGES_PER_STEP) {
    const step = Array.from({ length: Math.min(IMAGES_PER_STEP, options.images - first) }, (_, index) => {
      return { ...imageOf(first + index, options), usedAt: startedAt + (first + index) * 1000 };
    });
    await tables.environment.write(() => step.forEach((image) => enter(tables, image)), { frees: true });
    for (const { blobs } of step) for (const blob of blobs) makeFile(dataDir, blob);
    if (first % 10_000 === 0) say(`filled ${first} of ${options.images} images`);
  }
  await tables.environment.write(() => tables.meta.putSync('format', 2), { frees: true });
  await tables.environment.close();
  await writeFile(join(dataDir, 'filled'), filling(options));
}

function enter(tables: Tables, image: Image & { readonly usedAt: number }): void {
  const { repository, digest, bytes, blobs, usedAt } = image;
  tables.manifests.put({ digest, mediaType: MANIFEST_TYPE, bytes }, usedAt);
  tables.links.put(repository, digest, { by: 'upstream', size: bytes.length });
  for (const blob of blobs) {
    tables.blobs.put(blob.digest, blob.size, usedAt);
    tables.links.put(repository, blob.digest, { by: 'manifest', size: blob.size });
  }
  tables.repositories.list(repository);
}

/** Sparse: it has a size and no blocks. */
function makeFile(dataDir: string, { digest, size }: { digest: string; size: number }): void {
  const hex = digest.slice('sha256:'.length);
  const file = openSync(join(dataDir, 'blobs/sha256', hex.slice(0, 2), hex), 'w');
  ftruncateSync(file, size);
  closeSync(file);
}

interface Bench {
  readonly dataDir: string;
  readonly folder: string;
  readonly options: Options;
  readonly root: string;
}

async function measure(bench: Bench): Promise<void> {
  const { options, dataDir } = bench;
  const blobBytes = Array.from({ length: options.images }, (_, image) => sizeOf(image, options)).reduce(
    (sum, size) => sum + size * BLOBS_PER_IMAGE,
    0,
  );
  const quiet = await start(bench, blobBytes * 4);
  say(`ready after ${Math.round(quiet.readyMs)} ms`);
  const calm = await hits(quiet.server, options, () => Promise.resolve(false), QUIET_MS);
  say(`hits before: ${told(calm)}; RssAnon ${await rssAnonMib(quiet.server)} MiB`);
  await quiet.server.stop();
  await rm(join(dataDir, 'filled'));
  const { bsize } = await statfs(dataDir);
  const indexBytes = Math.ceil((await fileBytes(join(dataDir, 'index/data.mdb'))) / bsize) * bsize;
  // A little more is stored than the high mark allows.
  const tight = await start(bench, Math.floor((blobBytes + indexBytes) / 0.9503));
  say(`ready after ${Math.round(tight.readyMs)} ms with an eviction to do`);
  const target = options.evict * BLOBS_PER_IMAGE;
  let evicted = 0;
  const from = performance.now();
  const during = await hits(
    tight.server,
    options,
    async () => {
      evicted = await metric(tight.adminUrl, 'pierhead_evicted_blobs_total{reason="mark"}');
      return evicted >= target * 0.98;
    },
    120_000,
  );
  say(`evicted ${evicted} blobs in ${Math.round(performance.now() - from)} ms`);
  say(`hits meanwhile: ${told(during)}; RssAnon ${await rssAnonMib(tight.server)} MiB`);
  await tight.server.stop();
}

async function start(
  { dataDir, folder, options, root }: Bench,
  cacheBytes: number,
): Promise<{ readonly server: ServerProcess; readonly adminUrl: string; readonly readyMs: number }> {
  const [port, adminPort] = [await freePort(), await freePort()];
  const from = performance.now();
  const server = await startServer({
    name: 'pierhead',
    command: options.node,
    args: [
      join(root, 'dist/main.js'),
      'serve',
      `--listen=127.0.0.1:${port}`,
      `--admin-listen=127.0.0.1:${adminPort}`,
      `--data-dir=${dataDir}`,
      `--cache-size=${cacheBytes}`,
      '--log-level=warn',
      // Sparse blobs are not what their names say.
      '--scrub-interval=off',
      // Nobody is there: whatever has to be fetched fails, and is no hit.
      '--upstream=http://127.0.0.1:9',
    ],
    port,
    folder,
    env: { PATH: PROGRAM_PATH },
  });
  return { server, adminUrl: `http://127.0.0.1:${adminPort}`, readyMs: performance.now() - from };
}

/** Latencies in ms of hits, from when each was due to its last byte, until `isOver` or `maxMs`. */
async function hits(
  server: ServerProcess,
  options: Options,
  isOver: () => Promise<boolean>,
  maxMs: number,
): Promise<number[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: 32 });
  const latencies: number[] = [];
  const running = new Set<Promise<void>>();
  const from = performance.now();
  for (let count = 0; ; count++) {
    const due = from + (count * 1000) / RATE;
    if (due - from > maxMs || (count % ASK_EVERY === ASK_EVERY - 1 && (await isOver()))) break;
    const waitMs = due - performance.now();
    if (waitMs > 0) await sleep(waitMs);
    const hit = fetchHit(hitUrl(server, options, count), agent).then(() => {
      latencies.push(performance.now() - due);
      running.delete(hit);
    });
    running.add(hit);
  }
  await Promise.all(running);
  agent.destroy();
  return latencies;
}

/** Manifests and blobs by turns, of any of the warm images. */
function hitUrl(server: ServerProcess, options: Options, count: number): string {
  const image = imageOf(Math.floor(options.images * (1 - HIT_SHARE * Math.random())) - 1, options);
  const name = image.repository.slice('docker.io/'.length);
  const blob = image.blobs[count % BLOBS_PER_IMAGE];
  return `${server.url}/v2/${name}/${count % 2 === 0 ? `manifests/${image.digest}` : `blobs/${blob?.digest}`}`;
}

function fetchHit(url: string, agent: Agent): Promise<void> {
  return new Promise((resolve, reject) => {
    get(url, { agent }, (response) => {
      response.resume();
      response.on('end', () => {
        const cache = String(response.headers['cache-status']);
        if (response.statusCode === 200 && cache === 'pierhead; hit') resolve();
        else reject(new Error(`${url}: ${response.statusCode}, ${cache}`));
      });
    }).on('error', reject);
  });
}

function told(latencies: readonly number[]): string {
  const sorted = [...latencies].sort((a, b) => a - b);
  const at = (share: number): string => (sorted[Math.floor(share * (sorted.length - 1))] ?? 0).toFixed(1);
  return `${sorted.length} requests, p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, longest ${at(1)} ms`;
}

async function metric(adminUrl: string, series: string): Promise<number> {
  const text = await (await fetch(`${adminUrl}/metrics`)).text();
  const line = text.split('\n').find((each) => each.startsWith(`${series} `));
  return Number(line?.split(' ').at(-1) ?? 0);
}

async function rssAnonMib(server: ServerProcess): Promise<number> {
  const status = await readFile(`/proc/${server.pid}/status`, 'utf8');
  return Math.round(Number(/RssAnon:\s+(\d+) kB/.exec(status)?.[1] ?? 0) / 1024);
}

async function fileBytes(path: string): Promise<number> {
  return (await stat(path)).size;
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
