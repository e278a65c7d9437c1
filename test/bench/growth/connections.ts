import { join } from 'node:path';
import { pierhead } from '../contestants.ts';
import { steadyLoad } from '../load.ts';
import { compileOpenLoad, openLoad } from '../open-load.ts';
import type { Axis } from './axis.ts';
import { hotTag, startHub } from './hub.ts';

const WARM_UP_SECONDS = 2;

export const CONNECTIONS: Axis = {
  name: 'connections',
  noun: 'connections',
  load: 'one manifest by tag; 99th percentile at half that rate, evenly spaced, on connections that have been used before',
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
          const { p99Ms } = await openLoad({ ...load, client, perSecond: perSecond / 2, seconds });
          onPoint({ amount: connections, perSecond, p99Ms });
        }
      } finally {
        await server.stop();
      }
    } finally {
      await hub.close();
    }
  },
};
