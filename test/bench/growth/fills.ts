import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pierhead } from '../contestants.ts';
import { steadyLoad } from '../load.ts';
import { readMetrics } from '../metrics.ts';
import { startTorrent } from '../nginx-upstream.ts';
import { freePort, type ServerProcess } from '../server-process.ts';
import { sparseBlobs } from '../sparse-blobs.ts';
import { startReading } from '../steady-reading.ts';
import { growthPoint, type Axis, type AxisContext } from './axis.ts';
import { hotTag, startHub } from './hub.ts';

/** Of all fills together, so that it is their number that grows and nothing else. */
const BYTES_PER_SECOND = 200_000_000;
/** Before and after the load. */
const MARGIN_SECONDS = 5;
const RUNNING_WITHIN_MS = 10_000;

export const FILLS: Axis = {
  name: 'fills',
  noun: 'running fills',
  load: `one manifest by tag, 16 connections, while fills receive ${BYTES_PER_SECOND / 1e6} MB/s together, each with a reader`,
  amounts: [1, 2, 4, 8, 16, 32, 64],
  async measure(context, amounts) {
    const hub = await startHub();
    try {
      for (const amount of amounts) await measureOne(context, amount, hub.url);
    } finally {
      await hub.close();
    }
  },
};

async function measureOne(context: AxisContext, fills: number, registryUrl: string): Promise<void> {
  const { root, node, seconds } = context;
  const folder = join(context.folder, String(fills));
  await mkdir(folder, { recursive: true });
  const each = BYTES_PER_SECOND / fills;
  const blobs = sparseBlobs(fills, Math.ceil(each * (seconds + MARGIN_SECONDS)));
  const torrent = await startTorrent({
    folder: join(folder, 'torrent'),
    registryUrl,
    blobs,
    bytesPerSecond: each,
  });
  const admin = `127.0.0.1:${await freePort()}`;
  const settings = { 'admin-listen': admin, fills: String(Math.max(fills, 16)) };
  try {
    const server = await pierhead({ root, node, settings }).start({ upstreamUrl: torrent.url, folder });
    try {
      const digests = blobs.map(({ digest }) => digest);
      await measureOn(server, { ...context, fills, digests, adminUrl: `http://${admin}` });
    } finally {
      await server.stop();
    }
  } finally {
    await torrent.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

interface Measured extends AxisContext {
  readonly fills: number;
  readonly digests: readonly string[];
  readonly adminUrl: string;
}

async function measureOn(
  server: ServerProcess,
  { root, seconds, fills, digests, adminUrl, onPoint }: Measured,
): Promise<void> {
  const url = await hotTag(server);
  const reading = await startReading({
    urls: digests.map((digest) => `${server.url}/v2/library/hot/blobs/${digest}`),
    atOnce: fills,
  });
  try {
    await untilRunning(adminUrl, fills);
    const summaryScript = join(root, 'test/bench/summary.lua');
    const point = growthPoint(fills, await steadyLoad({ url, connections: 16, seconds, summaryScript }));
    const still = await running(adminUrl);
    if (still !== fills) throw new Error(`only ${still} of ${fills} fills were still running`);
    onPoint(point);
  } finally {
    await reading.stop();
  }
}

async function untilRunning(adminUrl: string, fills: number): Promise<void> {
  const end = performance.now() + RUNNING_WITHIN_MS;
  while ((await running(adminUrl)) < fills) {
    if (performance.now() > end) throw new Error(`${fills} fills did not come to run`);
    await sleep(50);
  }
}

async function running(adminUrl: string): Promise<number> {
  return (await readMetrics(adminUrl)).sum('pierhead_fills_running');
}
