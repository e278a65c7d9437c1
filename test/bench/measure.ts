import { execFile } from 'node:child_process';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Contestant } from './contestants.ts';
import type { ScenarioResult } from './report.ts';
import type { Bench, Sample, Scenario } from './scenarios.ts';
import type { ServerProcess } from './server-process.ts';

const run = promisify(execFile);

export interface MeasureOptions {
  readonly bench: Bench;
  readonly contestants: readonly Contestant[];
  readonly repeats: number;
  /** Each server gets a folder of its own in it. */
  readonly folder: string;
  readonly onSample: (contestant: Contestant, sample: Sample) => void;
}

/** Contestants take turns, each repeat beginning with another one, so that what drifts on the machine hits all. */
export async function measureScenario(scenario: Scenario, options: MeasureOptions): Promise<ScenarioResult> {
  const samples = new Map<string, Sample[]>(options.contestants.map(({ name }) => [name, []]));
  const take = async (contestant: Contestant, server: ServerProcess): Promise<void> => {
    const sample = await scenario.measure(server, options.bench);
    samples.get(contestant.name)?.push(sample);
    options.onSample(contestant, sample);
  };
  const isAmong = ({ name }: Contestant): boolean => scenario.contestants?.includes(name) ?? true;
  const among = { ...options, contestants: options.contestants.filter(isAmong) };
  await (scenario.state === 'hot' ? measureHot : measureCold)(scenario, among, take);
  return { scenario, samples };
}

type Take = (contestant: Contestant, server: ServerProcess) => Promise<void>;

async function measureHot(scenario: Scenario, options: MeasureOptions, take: Take): Promise<void> {
  const running: { contestant: Contestant; server: ServerProcess }[] = [];
  try {
    for (const contestant of options.contestants) {
      const server = await startFresh(scenario, contestant, options);
      running.push({ contestant, server });
      await scenario.prepare(server, options.bench);
    }
    for (let repeat = 0; repeat < options.repeats; repeat += 1) {
      for (const { contestant, server } of rotated(running, repeat)) await take(contestant, server);
    }
  } finally {
    await Promise.all(running.map(({ server }) => server.stop()));
    await Promise.all(running.map(({ contestant }) => clear(contestant, options)));
  }
}

async function measureCold(scenario: Scenario, options: MeasureOptions, take: Take): Promise<void> {
  for (let repeat = 0; repeat < options.repeats; repeat += 1) {
    for (const contestant of rotated(options.contestants, repeat)) {
      // What the one before has left to be written would slow this one down.
      await run('sync');
      const server = await startFresh(scenario, contestant, options);
      try {
        await scenario.prepare(server, options.bench);
        await take(contestant, server);
      } finally {
        await server.stop();
        await clear(contestant, options);
      }
    }
  }
}

async function startFresh(
  scenario: Scenario,
  contestant: Contestant,
  options: MeasureOptions,
): Promise<ServerProcess> {
  const folder = join(options.folder, contestant.name);
  await mkdir(folder, { recursive: true });
  const { upstream, farUpstreamUrl } = options.bench;
  const upstreamUrl = scenario.upstream === 'far' ? farUpstreamUrl : upstream.url;
  const { pierheadSettings: settings = {} } = scenario;
  return contestant.start({ upstreamUrl, folder, settings });
}

function clear(contestant: Contestant, options: MeasureOptions): Promise<void> {
  return rm(join(options.folder, contestant.name), { recursive: true, force: true });
}

function rotated<T>(items: readonly T[], by: number): T[] {
  const start = by % items.length;
  return [...items.slice(start), ...items.slice(0, start)];
}
