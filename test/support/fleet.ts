import { onTestFinished } from 'vitest';
import type { FakeHub } from '../fake/hub.ts';
import { startPierhead, type Pierhead } from './pierhead.ts';
import { redisInUse } from './reach.ts';

/** What servers need alike to be a fleet. */
export const FLEET_SECRET = 'the secret of this fleet';

export interface FleetOptions {
  readonly hub: FakeHub;
  readonly redisUrl: string;
  readonly size: number;
  /** Further settings by environment name without its prefix. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** Servers, each a process with a folder of its own, that use one Redis; they end with the running test. */
export async function startFleet(options: FleetOptions): Promise<readonly Pierhead[]> {
  const { hub, redisUrl, size, settings } = options;
  // On a machine that is busy with other tests Redis must not be thought slow.
  const all = {
    REDIS_URL: redisUrl,
    REDIS_TIMEOUT: '2s',
    FLEET_SECRET,
    ...settings,
  };
  return Promise.all(
    Array.from({ length: size }, async () => {
      const pierhead = await startPierhead({ upstreamUrl: hub.url, settings: all });
      onTestFinished(() => pierhead.close());
      await redisInUse(pierhead);
      return pierhead;
    }),
  );
}
