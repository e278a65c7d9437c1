import { closeSync, ftruncateSync, mkdirSync, openSync } from 'node:fs';
import { readFile, rm, stat, statfs, writeFile } from 'node:fs/promises';
import { Agent, get } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { inBenchFolder } from './bench-folder.ts';
import type { Command, CommandContext } from './command.ts';
import { fillIndex, indexedImage, type IndexedImage } from './index-filling.ts';
import { readMetrics } from './metrics.ts';
import { count } from './options.ts';
import { memoryOf } from './process-probe.ts';
import { PROGRAM_PATH } from './programs.ts';
import { formatNumber, table } from './report.ts';
import { freePort, startServer, type ServerProcess } from './server-process.ts';
import { percentile } from './statistics.ts';

const USAGE = `npm run bench -- index [options]

Fills a data directory with sparse blobs and an index of them, and measures a server on it: how long it takes to be
ready, its memory, and how long hits take before and while the coldest images are evicted.

  --images <n>   manifests, each with ten blobs of its own (default 100000)
  --evict <n>    how many of them are to be evicted (default 1000)
  --keep <dir>   fill this folder, if that has not been done, and leave it there
  --node <path>  the Node binary that runs Pierhead (default: this one)
  --no-write     leave RESULTS.md as it is
`;

const BLOBS_PER_IMAGE = 10;
const BLOB_BYTES = 16 * 1024;
/** Requests per second, sent whether or not the ones before have been answered. */
const RATE = 200;
const QUIET_MS = 20_000;
/** Requests after which the server is asked how far it is. */
const ASK_EVERY = 50;
/** The warmest images: what is hit is never what is evicted. */
const HIT_SHARE = 0.5;
const STARTED_AT = Date.now();

interface Options {
  readonly images: number;
  readonly evict: number;
  readonly keep: string | undefined;
  readonly node: string;
}

export const INDEX: Command<Options> = {
  usage: USAGE,
  parse,
  missing: () => undefined,
  run: async (options, context) => {
    if (options.keep === undefined) await inBenchFolder((folder) => measureIn(folder, options, context));
    else await measureIn(options.keep, options, context);
    return true;
  },
};

function parse(argv: readonly string[]): Options | 'help' {
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
  if (values.help) return 'help';
  return {
    images: count('--images', values.images),
    evict: count('--evict', values.evict),
    keep: values.keep,
    node: values.node,
  };
}

async function measureIn(folder: string, options: Options, context: CommandContext): Promise<void> {
  const { circumstances, say, report } = context;
  const dataDir = join(folder, 'data');
  const isFilled = await readFile(join(dataDir, 'filled'), 'utf8').then(
    (text) => text === filling(options),
    () => false,
  );
  if (!isFilled) await fill(dataDir, options, context);
  const found = await measure({ dataDir, folder, options, context });
  say(`\n${found}\n`);
  report(
    'index',
    `## An index of ${formatNumber(options.images * BLOBS_PER_IMAGE)} blobs\n\n${circumstances.line}\n\n${found}`,
  );
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

/** Image 0 is the coldest; the numbers are seconds. */
function imageOf(image: number, options: Options): IndexedImage {
  const blobBytes = sizeOf(image, options);
  const usedAt = image * 1000 - options.images * 1000 - 86_400_000 + STARTED_AT;
  return indexedImage(image, { blobs: BLOBS_PER_IMAGE, blobBytes, usedAt });
}

async function fill(dataDir: string, options: Options, { root, say }: CommandContext): Promise<void> {
  await rm(dataDir, { recursive: true, force: true });
  for (let folder = 0; folder < 256; folder++) {
    mkdirSync(join(dataDir, 'blobs/sha256', folder.toString(16).padStart(2, '0')), { recursive: true });
  }
  await fillIndex({ root, dataDir, withBlobs: true, images: imagesWithFiles(dataDir, options, say) });
  await writeFile(join(dataDir, 'filled'), filling(options));
}

function* imagesWithFiles(
  dataDir: string,
  options: Options,
  say: (text: string) => void,
): Generator<IndexedImage> {
  for (let number = 0; number < options.images; number++) {
    const image = imageOf(number, options);
    for (const blob of image.blobs) makeFile(dataDir, blob);
    yield image;
    if (number % 10_000 === 0) say(`filled ${number} of ${options.images} images`);
  }
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
  readonly context: CommandContext;
}

/** Resolves to a table in Markdown. */
async function measure(bench: Bench): Promise<string> {
  const { options, dataDir, context } = bench;
  const { say } = context;
  const blobBytes = Array.from({ length: options.images }, (_, image) => sizeOf(image, options)).reduce(
    (sum, size) => sum + size * BLOBS_PER_IMAGE,
    0,
  );
  const quiet = await start(bench, blobBytes * 4);
  say('hits before');
  const calm = await hits(quiet.server, options, () => Promise.resolve(false), QUIET_MS);
  const calmMemory = await memoryTold(quiet.server);
  await quiet.server.stop();
  await rm(join(dataDir, 'filled'));
  const { bsize } = await statfs(dataDir);
  const indexBytes = Math.ceil((await fileBytes(join(dataDir, 'index/data.mdb'))) / bsize) * bsize;
  // A little more is stored than the high mark allows.
  const tight = await start(bench, Math.floor((blobBytes + indexBytes) / 0.9503));
  say('hits while the coldest images are evicted');
  const target = options.evict * BLOBS_PER_IMAGE;
  let evicted = 0;
  const from = performance.now();
  const during = await hits(
    tight.server,
    options,
    async () => {
      evicted = (await readMetrics(tight.adminUrl)).sum('pierhead_evicted_blobs_total', 'reason="mark"');
      return evicted >= target * 0.98;
    },
    120_000,
  );
  const seconds = (performance.now() - from) / 1000;
  const tightMemory = await memoryTold(tight.server);
  await tight.server.stop();
  return table(
    ['', '', 'at rest', `while ${formatNumber(evicted)} blobs were evicted in ${formatNumber(seconds)} s`],
    [
      ['start to ready', 'ms', formatNumber(quiet.server.readyMs), formatNumber(tight.server.readyMs)],
      ['anonymous memory, resident', 'MB', calmMemory, tightMemory],
      [`hits, ${RATE} a second: median`, 'ms', told(calm, 0.5), told(during, 0.5)],
      ['99th percentile', 'ms', told(calm, 0.99), told(during, 0.99)],
      ['longest', 'ms', told(calm, 1), told(during, 1)],
    ],
  );
}

async function start(
  { dataDir, folder, options, context }: Bench,
  cacheBytes: number,
): Promise<{ readonly server: ServerProcess; readonly adminUrl: string }> {
  const [port, adminPort] = [await freePort(), await freePort()];
  const server = await startServer({
    name: 'pierhead',
    command: options.node,
    args: [
      join(context.root, 'dist/main.js'),
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
  return { server, adminUrl: `http://127.0.0.1:${adminPort}` };
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
  for (let sent = 0; ; sent++) {
    const due = from + (sent * 1000) / RATE;
    if (due - from > maxMs || (sent % ASK_EVERY === ASK_EVERY - 1 && (await isOver()))) break;
    const waitMs = due - performance.now();
    if (waitMs > 0) await sleep(waitMs);
    const hit = fetchHit(hitUrl(server, options, sent), agent).then(() => {
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
function hitUrl(server: ServerProcess, options: Options, number: number): string {
  const image = imageOf(Math.floor(options.images * (1 - HIT_SHARE * Math.random())) - 1, options);
  const blob = image.blobs[number % BLOBS_PER_IMAGE];
  return `${server.url}/v2/${image.repository}/${number % 2 === 0 ? `manifests/${image.digest}` : `blobs/${blob?.digest}`}`;
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

function told(latencies: readonly number[], share: number): string {
  return formatNumber(percentile(Float64Array.from(latencies).sort(), share));
}

async function memoryTold({ pid }: ServerProcess): Promise<string> {
  const { anonBytes, residentBytes } = await memoryOf(pid);
  return `${formatNumber(anonBytes / 1e6)}, ${formatNumber(residentBytes / 1e6)}`;
}

async function fileBytes(path: string): Promise<number> {
  return (await stat(path)).size;
}
