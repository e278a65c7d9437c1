import { execFile } from 'node:child_process';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Contestant } from './contestants.ts';
import type { Places } from './places.ts';
import type { Bench, Sample, Scenario } from './scenarios/scenario.ts';
import type { ServerProcess } from './server-process.ts';

const run = promisify(execFile);

/** What one scenario gave. */
export interface ScenarioResult {
  readonly scenario: Scenario;
  /** By the name of the contestant. */
  readonly samples: ReadonlyMap<string, readonly Sample[]>;
  /** Who could not go on, and why: a sentence each. */
  readonly failures: readonly string[];
}

export interface MeasureOptions {
  readonly bench: Bench;
  readonly places: Places;
  readonly contestants: readonly Contestant[];
  readonly repeats: number;
  /** Each server gets a folder of its own in it. */
  readonly folder: string;
  readonly onSample: (contestant: Contestant, sample: Sample) => void;
  readonly onFailure: (failure: string) => void;
}

/** Contestants take turns, each repeat beginning with another one, so that what drifts on the machine hits all. */
export async function measureScenario(scenario: Scenario, options: MeasureOptions): Promise<ScenarioResult> {
  const measurement = new Measurement(scenario, options);
  await (scenario.state === 'hot' ? measureHot(measurement) : measureCold(measurement));
  return measurement.result;
}

/** Who fails is out of the scenario; the others go on, so that one that breaks does not cost the whole run. */
class Measurement {
  readonly #scenario: Scenario;
  readonly #options: MeasureOptions;
  readonly #samples: ReadonlyMap<string, Sample[]>;
  readonly #failures: string[] = [];
  readonly #out = new Set<string>();

  constructor(scenario: Scenario, options: MeasureOptions) {
    this.#scenario = scenario;
    this.#options = options;
    this.#samples = new Map(options.contestants.map(({ name }) => [name, []]));
  }

  get repeats(): number {
    return this.#options.repeats;
  }

  get contestants(): readonly Contestant[] {
    return this.#options.contestants;
  }

  get result(): ScenarioResult {
    return { scenario: this.#scenario, samples: this.#samples, failures: this.#failures };
  }

  /** Resolves to undefined if it failed. */
  async start(contestant: Contestant): Promise<ServerProcess | undefined> {
    return this.#attempt(contestant, async () => {
      const folder = join(this.#options.folder, contestant.name);
      await mkdir(folder, { recursive: true });
      const { place = 'near', pierheadSettings: settings = {} } = this.#scenario;
      const way = this.#options.places.ways.get(place);
      if (way === undefined) throw new Error(`there is no upstream ${place}`);
      const { url: upstreamUrl, caFile } = way;
      return contestant.start({ upstreamUrl, caFile, folder, settings });
    });
  }

  async prepare(contestant: Contestant, server: ServerProcess): Promise<void> {
    await this.#attempt(contestant, () => this.#scenario.prepare(server, this.#options.bench));
  }

  async take(contestant: Contestant, server: ServerProcess): Promise<void> {
    await this.#attempt(contestant, async () => {
      const sample = await this.#scenario.measure(server, this.#options.bench);
      this.#samples.get(contestant.name)?.push(sample);
      this.#options.onSample(contestant, sample);
    });
  }

  clear(contestant: Contestant): Promise<void> {
    return rm(join(this.#options.folder, contestant.name), { recursive: true, force: true });
  }

  async #attempt<T>(contestant: Contestant, work: () => Promise<T>): Promise<T | undefined> {
    if (this.#out.has(contestant.name)) return undefined;
    try {
      return await work();
    } catch (error) {
      this.#out.add(contestant.name);
      const failure = `${this.#scenario.name}, ${contestant.name}: ${(error as Error).message}`;
      this.#failures.push(failure);
      this.#options.onFailure(failure);
      return undefined;
    }
  }
}

async function measureHot(measurement: Measurement): Promise<void> {
  const running: { readonly contestant: Contestant; readonly server: ServerProcess }[] = [];
  try {
    for (const contestant of measurement.contestants) {
      const server = await measurement.start(contestant);
      if (server === undefined) continue;
      running.push({ contestant, server });
      await measurement.prepare(contestant, server);
    }
    for (let repeat = 0; repeat < measurement.repeats; repeat += 1) {
      for (const { contestant, server } of rotated(running, repeat)) {
        await measurement.take(contestant, server);
      }
    }
  } finally {
    await Promise.all(running.map(({ server }) => server.stop()));
    await Promise.all(measurement.contestants.map((contestant) => measurement.clear(contestant)));
  }
}

async function measureCold(measurement: Measurement): Promise<void> {
  for (let repeat = 0; repeat < measurement.repeats; repeat += 1) {
    for (const contestant of rotated(measurement.contestants, repeat)) {
      // What the one before has left to be written would slow this one down.
      await run('sync');
      const server = await measurement.start(contestant);
      try {
        if (server === undefined) continue;
        await measurement.prepare(contestant, server);
        await measurement.take(contestant, server);
      } finally {
        await server?.stop();
        await measurement.clear(contestant);
      }
    }
  }
}

function rotated<T>(items: readonly T[], by: number): T[] {
  const start = by % Math.max(1, items.length);
  return [...items.slice(start), ...items.slice(0, start)];
}
