import { join } from 'node:path';
import type { Content } from './content.ts';
import { startDockerd } from './dockerd.ts';
import type { LayeredImage } from './layers.ts';
import { downloads, fetchVerified, steadyLoad, type SteadyLoad } from './load.ts';
import type { Program } from './programs.ts';
import type { ServerProcess } from './server-process.ts';
import type { UpstreamRegistry } from './upstream.ts';

/** What a measurement may use. */
export interface Bench {
  readonly content: Content;
  readonly upstream: UpstreamRegistry;
  /** How long a steady load lasts. */
  readonly seconds: number;
  readonly summaryScript: string;
  /** The same registry, far away. */
  readonly farUpstreamUrl: string;
  readonly layered: LayeredImage;
  /** For what a scenario needs besides servers. */
  readonly folder: string;
}

/** One measurement of one contestant. */
export interface Sample {
  /** In the unit of the scenario. */
  readonly value: number;
  /** Processor seconds of the server per `cpuPer` of the scenario. */
  readonly cpu: number;
  readonly p50Ms?: number;
  readonly p99Ms?: number;
  /** Bytes that upstream sent, as a multiple of the blob. */
  readonly upstreamShare?: number;
}

export interface Scenario {
  readonly name: string;
  readonly title: string;
  readonly unit: 'requests/s' | 'GB/s' | 's';
  /** What `Sample.cpu` counts. */
  readonly cpuPer: '10,000 requests' | 'GiB served' | 'pull';
  /** Hot: the cache was filled and the server stays. Cold: each measurement begins on an empty cache. */
  readonly state: 'hot' | 'cold';
  /** Default `near`: on this machine, without delay. */
  readonly upstream?: 'near' | 'far';
  /** Who takes part; default everybody. */
  readonly contestants?: readonly string[];
  /** Of Pierhead, by flag without its dashes. */
  readonly pierheadSettings?: Readonly<Record<string, string>>;
  /** Programs that only this one needs. */
  readonly needs?: readonly Program[];
  /** Brings the server to where the measurement begins; not measured. */
  prepare(server: ServerProcess, bench: Bench): Promise<void>;
  measure(server: ServerProcess, bench: Bench): Promise<Sample>;
}

/** How far away the far upstream is. */
export const FAR = { roundTripMs: 80, bytesPerSecond: 25_000_000 } as const;

const GIB = 1024 ** 3;
const WARM_UP_SECONDS = 2;
/** Of the large blob in one measurement: some three or four seconds here. */
const HOT_DOWNLOADS = 16;

type Target = (content: Content) => { readonly path: string; readonly digest: string };

const tagTarget: Target = ({ tag, index }) => ({ path: `manifests/${tag}`, digest: index.digest });
const digestTarget: Target = ({ images: [image] }) => {
  if (image === undefined) throw new Error('the content has no image');
  return { path: `manifests/${image.digest}`, digest: image.digest };
};
const blobTarget =
  (size: 'smallBlob' | 'largeBlob'): Target =>
  (content) => ({ path: `blobs/${content[size].digest}`, digest: content[size].digest });

export const SCENARIOS: readonly Scenario[] = [
  hotRequests('hot-tag', 'hot manifest by tag, 16 connections', tagTarget),
  hotRequests('hot-digest', 'hot manifest by digest, 16 connections', digestTarget),
  hotRequests('hot-small-blob', 'hot blob of 200 kB, 16 connections', blobTarget('smallBlob')),
  hotDownloads('hot-large-blob', 'hot blob of 512 MB, 4 connections', blobTarget('largeBlob')),
  coldDownload('cold-large-blob', 'cold blob of 512 MB, 1 client', 1),
  coldDownload('cold-herd', 'cold blob of 512 MB, 32 clients at once', 32),
  coldPull('off'),
  coldPull('manifests'),
  coldPull('layers'),
];

function hotRequests(name: string, title: string, target: Target): Scenario {
  const load = (server: ServerProcess, bench: Bench, seconds: number): Promise<SteadyLoad> =>
    steadyLoad({
      url: targetUrl(server, bench, target),
      connections: 16,
      seconds,
      summaryScript: bench.summaryScript,
    });
  return {
    name,
    title,
    unit: 'requests/s',
    cpuPer: '10,000 requests',
    state: 'hot',
    async prepare(server, bench) {
      await lookAtImage(server, bench);
      await fetchTarget(server, bench, target);
      await load(server, bench, WARM_UP_SECONDS);
    },
    async measure(server, bench) {
      const { result, cpuSeconds } = await whileHot(server, bench, () => load(server, bench, bench.seconds));
      return {
        value: result.requests / result.seconds,
        cpu: (cpuSeconds / result.requests) * 10_000,
        p50Ms: result.p50Ms,
        p99Ms: result.p99Ms,
      };
    },
  };
}

function hotDownloads(name: string, title: string, target: Target): Scenario {
  const load = (server: ServerProcess, bench: Bench, count: number): Promise<number> =>
    downloads({
      url: targetUrl(server, bench, target),
      count,
      connections: 4,
      size: bench.content.largeBlob.size,
    });
  return {
    name,
    title,
    unit: 'GB/s',
    cpuPer: 'GiB served',
    state: 'hot',
    async prepare(server, bench) {
      await lookAtImage(server, bench);
      await fetchTarget(server, bench, target);
      await load(server, bench, 8);
    },
    async measure(server, bench) {
      const bytes = HOT_DOWNLOADS * bench.content.largeBlob.size;
      const { result, cpuSeconds } = await whileHot(server, bench, () => load(server, bench, HOT_DOWNLOADS));
      return { value: bytes / result / 1e9, cpu: cpuSeconds / (bytes / GIB) };
    },
  };
}

function coldDownload(name: string, title: string, clients: number): Scenario {
  return {
    name,
    title,
    unit: 's',
    cpuPer: 'GiB served',
    state: 'cold',
    prepare: lookAtImage,
    async measure(server, bench) {
      const { size } = bench.content.largeBlob;
      const url = targetUrl(server, bench, blobTarget('largeBlob'));
      await bench.upstream.takeBlobBytesSent();
      const cpuBefore = await server.cpuSeconds();
      const seconds = await downloads({ url, count: clients, connections: clients, size });
      const upstreamBytes = await bench.upstream.takeBlobBytesSent();
      const cpuSeconds = (await server.cpuSeconds()) - cpuBefore;
      return {
        value: seconds,
        cpu: cpuSeconds / ((clients * size) / GIB),
        upstreamShare: upstreamBytes / size,
      };
    },
  };
}

/** A Docker Engine that has nothing pulls an image of many layers that nobody has pulled before. */
function coldPull(readAhead: string): Scenario {
  const { roundTripMs, bytesPerSecond } = FAR;
  return {
    name: `cold-pull-${readAhead}`,
    title: `cold \`docker pull\` of 20 layers, upstream ${roundTripMs} ms away at ${(bytesPerSecond * 8) / 1e6} Mbit/s, \`readAhead: ${readAhead}\``,
    unit: 's',
    cpuPer: 'pull',
    state: 'cold',
    upstream: 'far',
    contestants: ['pierhead', 'docker-registry'],
    pierheadSettings: { 'read-ahead': readAhead },
    needs: ['dockerd', 'docker'],
    prepare: () => Promise.resolve(),
    async measure(server, bench) {
      const dockerd = await startDockerd(join(bench.folder, 'dockerd'), server.url);
      try {
        await bench.upstream.takeBlobBytesSent();
        const cpuBefore = await server.cpuSeconds();
        const value = await dockerd.pull(`${bench.layered.repository.replace('library/', '')}:latest`);
        const cpu = (await server.cpuSeconds()) - cpuBefore;
        const upstreamShare = (await bench.upstream.takeBlobBytesSent()) / bench.layered.layerBytes;
        return { value, cpu, upstreamShare };
      } finally {
        await dockerd.stop();
      }
    },
  };
}

/** A layer is asked for after the manifests that name it, as any client does. */
async function lookAtImage(server: ServerProcess, bench: Bench): Promise<void> {
  await fetchTarget(server, bench, tagTarget);
  await fetchTarget(server, bench, digestTarget);
}

/** Runs `load`; throws if upstream had to send a blob for it. */
async function whileHot<T>(
  server: ServerProcess,
  bench: Bench,
  load: () => Promise<T>,
): Promise<{ result: T; cpuSeconds: number }> {
  await bench.upstream.takeBlobBytesSent();
  const cpuBefore = await server.cpuSeconds();
  const result = await load();
  const cpuSeconds = (await server.cpuSeconds()) - cpuBefore;
  const upstreamBytes = await bench.upstream.takeBlobBytesSent();
  if (upstreamBytes > 0) throw new Error(`${server.url} was not hot: upstream sent ${upstreamBytes} bytes`);
  return { result, cpuSeconds };
}

function fetchTarget(server: ServerProcess, bench: Bench, target: Target): Promise<void> {
  return fetchVerified(targetUrl(server, bench, target), target(bench.content).digest);
}

function targetUrl(server: ServerProcess, bench: Bench, target: Target): string {
  return `${server.url}/v2/${bench.content.repository}/${target(bench.content).path}`;
}
