import { join } from 'node:path';
import { startDockerd } from '../dockerd.ts';
import { FAR, GIGABIT } from '../places.ts';
import type { ServerProcess } from '../server-process.ts';
import type { Bench, Sample, Scenario } from './scenario.ts';
import { timed } from './targets.ts';

type Size = keyof Bench['images'];

const ENGINE = ['dockerd', 'docker'] as const;

/** A Docker Engine that has nothing pulls an image of many layers. */
async function pull(server: ServerProcess, bench: Bench, size: Size): Promise<Sample> {
  const { repository, tag, layerBytes } = bench.images[size];
  const dockerd = await startDockerd(join(bench.folder, 'dockerd'), server.url);
  try {
    await bench.upstream.takeBlobBytesSent();
    const name = `${repository.replace('library/', '')}:${tag}`;
    const { result, used } = await timed(server, () => dockerd.pull(name));
    const upstreamShare = (await bench.upstream.takeBlobBytesSent()) / layerBytes;
    return { value: result, ...used(1), upstreamShare };
  } finally {
    await dockerd.stop();
  }
}

/** Nobody has pulled it before, and upstream is far away. */
export function farPull(readAhead: string, contestants: Scenario['contestants'] = ['pierhead']): Scenario {
  const { roundTripMs, bytesPerSecond } = FAR;
  return {
    name: `cold-pull-${readAhead}`,
    title:
      `cold \`docker pull\` of 49 MB in 20 layers, upstream ${roundTripMs} ms away at ` +
      `${(bytesPerSecond * 8) / 1e6} Mbit/s, \`readAhead: ${readAhead}\``,
    unit: 's',
    cpuPer: 'pull',
    state: 'cold',
    place: 'far',
    contestants,
    pierheadSettings: { 'read-ahead': readAhead },
    needs: ENGINE,
    prepare: () => Promise.resolve(),
    measure: (server, bench) => pull(server, bench, 'light'),
  };
}

/** The same by all ways: through a cache, and with upstream itself in the place of one. */
export function gigabitPull(state: Scenario['state']): Scenario {
  return {
    name: `pull-${state === 'hot' ? 'warm' : 'cold'}`,
    title:
      `${state === 'hot' ? 'warm' : 'cold'} \`docker pull\` of 300 MB in 20 layers, upstream ` +
      `${GIGABIT.roundTripMs} ms away at 1 Gbit/s`,
    unit: 's',
    cpuPer: 'pull',
    state,
    place: 'gigabit',
    contestants: ['pierhead', 'docker-registry', 'direct'],
    needs: ENGINE,
    async prepare(server, bench) {
      if (state === 'hot') await pull(server, bench, 'heavy');
    },
    measure: (server, bench) => pull(server, bench, 'heavy'),
  };
}
