import { downloads, steadyLoad, type SteadyLoad } from '../load.ts';
import type { ServerProcess } from '../server-process.ts';
import type { Bench, Goal, Scenario } from './scenario.ts';
import { fetchTarget, GIB, lookAtImage, targetUrl, whileHot, type Target } from './targets.ts';

const WARM_UP_SECONDS = 2;
const WARM_UP_DOWNLOADS = 8;
/** Of the large blob in one measurement: some three or four seconds here. */
const HOT_DOWNLOADS = 16;

interface HotOptions {
  readonly name: string;
  readonly title: string;
  readonly target: Target;
  readonly goals: readonly Goal[];
}

/** Small answers, each connection asking again as soon as it was answered. */
export function hotRequests({ name, title, target, goals }: HotOptions): Scenario {
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
    goals,
    async prepare(server, bench) {
      await lookAtImage(server, bench);
      await fetchTarget(server, bench, target);
      await load(server, bench, WARM_UP_SECONDS);
      await bench.upstream.takeBlobBytesSent();
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

export function hotDownloads({ name, title, target, goals }: HotOptions): Scenario {
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
    goals,
    async prepare(server, bench) {
      await lookAtImage(server, bench);
      await fetchTarget(server, bench, target);
      await load(server, bench, WARM_UP_DOWNLOADS);
      await bench.upstream.takeBlobBytesSent();
    },
    async measure(server, bench) {
      const bytes = HOT_DOWNLOADS * bench.content.largeBlob.size;
      const { result, cpuSeconds } = await whileHot(server, bench, () => load(server, bench, HOT_DOWNLOADS));
      return { value: bytes / result / 1e9, cpu: cpuSeconds / (bytes / GIB) };
    },
  };
}
