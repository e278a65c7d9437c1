import { downloads, steadyLoad } from '../load.ts';
import { openLoad } from '../open-load.ts';
import type { ServerProcess } from '../server-process.ts';
import { startReading } from '../steady-reading.ts';
import type { Goal, Scenario } from './scenario.ts';
import { blobTarget, fetchTarget, tagTarget, targetUrl } from './targets.ts';

const PEAK_SECONDS = 2;
const CONNECTIONS = 64;

interface DuringFillOptions extends Pick<Scenario, 'contestants'> {
  readonly name: string;
  readonly title: string;
  readonly place: 'torrent' | 'line';
  /** Default: half the rate that the contestant reached alone. */
  readonly perSecond?: number;
  readonly goals: readonly Goal[];
}

/** Manifests evenly spaced, and timed from when each was due, while a fill runs. */
export function manifestsDuringFill({ perSecond, ...options }: DuringFillOptions): Scenario {
  const peaks = new WeakMap<ServerProcess, number>();
  return {
    ...options,
    unit: 'ms',
    state: 'cold',
    needs: ['gcc'],
    async prepare(server, bench) {
      await fetchTarget(server, bench, tagTarget);
      // What a server does for the first time takes longer, and it is not its first fill that is to be measured.
      const { size } = bench.content.largeBlob;
      const blobUrl = targetUrl(server, bench, blobTarget('largeBlob'));
      await downloads({ url: blobUrl, count: 1, connections: 1, size });
      const { summaryScript } = bench;
      const url = targetUrl(server, bench, tagTarget);
      const load = { url, summaryScript, seconds: PEAK_SECONDS, connections: 16 };
      await steadyLoad(load);
      const peak = await steadyLoad(load);
      peaks.set(server, peak.requests / peak.seconds);
    },
    async measure(server, bench) {
      const askedPerSecond = perSecond ?? (peaks.get(server) ?? 0) / 2;
      const urls = bench.torrent.map(
        ({ digest }) => `${server.url}/v2/${bench.content.repository}/blobs/${digest}`,
      );
      const reading = await startReading({ urls, atOnce: 1 });
      try {
        const { p50Ms, p99Ms } = await openLoad({
          client: bench.openLoadClient,
          url: targetUrl(server, bench, tagTarget),
          perSecond: askedPerSecond,
          seconds: bench.seconds,
          connections: CONNECTIONS,
        });
        const fillGbPerSecond = (await reading.bytesPerSecond()) / 1e9;
        return { value: p99Ms, p50Ms, p99Ms, askedPerSecond, fillGbPerSecond };
      } finally {
        await reading.stop();
      }
    },
  };
}
