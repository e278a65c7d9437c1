import { downloads } from '../load.ts';
import type { Goal, Scenario } from './scenario.ts';
import { blobTarget, GIB, lookAtImage, targetUrl, timed } from './targets.ts';

interface ColdOptions extends Pick<Scenario, 'place' | 'contestants' | 'needs'> {
  readonly name: string;
  readonly title: string;
  /** That ask at once. */
  readonly clients: number;
  readonly goals: readonly Goal[];
}

/** Of the large blob, by clients that are the first to ask for it. */
export function coldDownload({ clients, ...options }: ColdOptions): Scenario {
  return {
    ...options,
    unit: 's',
    cpuPer: 'GiB served',
    state: 'cold',
    prepare: lookAtImage,
    async measure(server, bench) {
      const { size } = bench.content.largeBlob;
      const url = targetUrl(server, bench, blobTarget('largeBlob'));
      await bench.upstream.takeBlobBytesSent();
      const { result, used } = await timed(server, async () => ({
        seconds: await downloads({ url, count: clients, connections: clients, size }),
        upstreamBytes: await bench.upstream.takeBlobBytesSent(),
      }));
      return {
        value: result.seconds,
        ...used((clients * size) / GIB),
        upstreamShare: result.upstreamBytes / size,
      };
    },
  };
}
