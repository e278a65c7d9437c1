import { downloads, steadyLoad, type Load } from '../load.ts';
import { sleeplessLoad } from '../open-load.ts';
import type { ServerProcess } from '../server-process.ts';
import type { Bench, Goal, Scenario } from './scenario.ts';
import { fetchTarget, GIB, lookAtImage, targetUrl, whileHot, type Target } from './targets.ts';

const CONNECTIONS = 16;
const WARM_UP_SECONDS = 2;
const WARM_UP_DOWNLOADS = 8;
/** Of the large blob in one measurement: some three or four seconds here. */
const HOT_DOWNLOADS = 16;

interface HotOptions extends Pick<Scenario, 'contestants'> {
  readonly name: string;
  readonly title: string;
  readonly target: Target;
  readonly goals: readonly Goal[];
}

interface HotRequestsOptions extends HotOptions {
  /** It sleeps while it has nothing to do, and has to be woken; default: it does. */
  readonly client?: 'sleeps' | 'never sleeps';
}

/** Small answers, each connection asking again as soon as it was answered. */
export function hotRequests({ target, client = 'sleeps', ...options }: HotRequestsOptions): Scenario {
  const load = (server: ServerProcess, bench: Bench, seconds: number): Promise<Load> => {
    const common = { url: targetUrl(server, bench, target), connections: CONNECTIONS, seconds };
    return client === 'sleeps'
      ? steadyLoad({ ...common, summaryScript: bench.summaryScript })
      : sleeplessLoad({ ...common, client: bench.openLoadClient });
  };
  return {
    ...options,
    unit: 'requests/s',
    cpuPer: '10,000 requests',
    state: 'hot',
    ...(client === 'sleeps' ? {} : { needs: ['gcc'] }),
    async prepare(server, bench) {
      await lookAtImage(server, bench);
      await fetchTarget(server, bench, target);
      await load(server, bench, WARM_UP_SECONDS);
      await bench.upstream.takeBlobBytesSent();
    },
    async measure(server, bench) {
      const { result, used } = await whileHot(server, bench, () => load(server, bench, bench.seconds));
      const { requests, seconds, p50Ms, p99Ms } = result;
      return { value: requests / seconds, ...used(requests / 10_000), p50Ms, p99Ms };
    },
  };
}

export function hotDownloads({ target, ...options }: HotOptions): Scenario {
  const load = (server: ServerProcess, bench: Bench, count: number): Promise<number> =>
    downloads({
      url: targetUrl(server, bench, target),
      count,
      connections: 4,
      size: bench.content.largeBlob.size,
    });
  return {
    ...options,
    unit: 'GB/s',
    cpuPer: 'GiB served',
    state: 'hot',
    async prepare(server, bench) {
      await lookAtImage(server, bench);
      await fetchTarget(server, bench, target);
      await load(server, bench, WARM_UP_DOWNLOADS);
      await bench.upstream.takeBlobBytesSent();
    },
    async measure(server, bench) {
      const bytes = HOT_DOWNLOADS * bench.content.largeBlob.size;
      const { result, used } = await whileHot(server, bench, () => load(server, bench, HOT_DOWNLOADS));
      return { value: bytes / result / 1e9, ...used(bytes / GIB) };
    },
  };
}
