import { join } from 'node:path';
import { pierhead } from '../contestants.ts';
import { steadyLoad } from '../load.ts';
import { compileOpenLoad, openLoad } from '../open-load.ts';
import { spread } from '../statistics.ts';
import type { Axis } from './axis.ts';
import { hotTag, startHub } from './hub.ts';

const WARM_UP_SECONDS = 2;
/** One pause of the machine of 60 ms makes a 99th percentile of 30 ms out of 3 s. */
const TURNS = 3;

export const CONNECTIONS: Axis = {
  name: 'connections',
  noun: 'connections',
  load: 'one manifest by tag; 99th percentile at half that rate, evenly spaced, on connections that have been used before, median of three',
  amounts: [1, 4, 16, 64, 256, 1000, 2000],
  async measure({ root, node, folder, seconds, onPoint }, amounts) {
    const client = await compileOpenLoad({ root, folder });
    const hub = await startHub();
    try {
      // All of them come from one address.
      const settings = { 'max-client-connections': '4000' };
      const server = await pierhead({ root, node, settings }).start({ upstreamUrl: hub.url, folder });
      try {
        const summaryScript = join(root, 'test/bench/summary.lua');
        const url = await hotTag(server);
        for (const connections of amounts) {
          const load = { url, connections };
          await steadyLoad({ ...load, summaryScript, seconds: WARM_UP_SECONDS });
          const peak = await steadyLoad({ ...load, summaryScript, seconds });
          const perSecond = peak.requests / peak.seconds;
          const half = { ...load, client, perSecond: perSecond / 2, seconds };
          const p99s: number[] = [];
          for (let turn = 0; turn < TURNS; turn++) p99s.push((await openLoad(half)).p99Ms);
          onPoint({ amount: connections, perSecond, p99Ms: spread(p99s).median });
        }
      } finally {
        await server.stop();
      }
    } finally {
      await hub.close();
    }
  },
};
