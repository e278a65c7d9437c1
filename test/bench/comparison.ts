import { mkdir, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { CommandContext } from './command.ts';
import { benchContent } from './content.ts';
import {
  bareNode,
  direct,
  dockerRegistryProxy,
  nginxProxyCache,
  pierhead,
  type Contestant,
} from './contestants.ts';
import { summarizeProfile } from './cpu-profile.ts';
import { goalRows } from './goals.ts';
import { layeredImage } from './layers.ts';
import { measureScenario, type ScenarioResult } from './measure.ts';
import { METHOD } from './method.ts';
import type { ComparisonOptions } from './options.ts';
import { startPlaces, type Places } from './places.ts';
import { compileOpenLoad } from './open-load.ts';
import { installHint, missingPrograms } from './programs.ts';
import type { Release } from './release.ts';
import { renderDetails, renderMain } from './report.ts';
import { SCENARIOS } from './scenarios/list.ts';
import {
  CONTESTANT_NAMES,
  type Bench,
  type ContestantName,
  type Sample,
  type Scenario,
} from './scenarios/scenario.ts';
import { sparseBlobs } from './sparse-blobs.ts';
import { startUpstream } from './upstream.ts';

const SUBJECT = 'pierhead';
/** Who takes part where a scenario says nothing of it. */
const CACHES: readonly ContestantName[] = ['pierhead', 'docker-registry', 'nginx'];
const TORRENT_BLOB_BYTES = 2_000_000_000;

/** What this machine lacks for it, as a sentence for the user; undefined: nothing. */
export function missingForComparison(options: ComparisonOptions): string | undefined {
  const needs = wantedOf(options).flatMap(({ needs: programs = [] }) => programs);
  const missing = missingPrograms(needs);
  if (missing.length > 0) return installHint(missing);
  const needsRoot = needs.includes('dockerd') && process.getuid?.() !== 0;
  return needsRoot ? 'missing: root, which a Docker Engine needs; --only leaves the pulls out' : undefined;
}

function wantedOf({ scenarios }: ComparisonOptions): readonly Scenario[] {
  return SCENARIOS.filter(({ name }) => scenarios.includes(name));
}

/** Pierhead beside its peers and beside an earlier state of its own, scenario by scenario; resolves to whether none failed. */
export async function compare(
  options: ComparisonOptions,
  { root, circumstances, say, report, promised }: CommandContext,
  { folder, before }: { readonly folder: string; readonly before: Release | undefined },
): Promise<boolean> {
  const contestants = contestantsOf(options, root);
  const release = before === undefined ? undefined : pierhead({ ...before, node: options.node });
  const results = await measureAll(options, {
    root,
    say,
    folder,
    contestants: release === undefined ? contestants : [...contestants, release],
  });
  const took = (name: string): boolean => results.some(({ samples }) => (samples.get(name) ?? []).length > 0);
  const peers = contestants.map(({ name }) => name).filter((name) => name !== SUBJECT && took(name));
  const columns = { subject: SUBJECT, peers };
  const failures = results.flatMap((result) => result.failures);
  const broken = failures.map((failure) => `- FAILED: ${failure}\n`).join('');
  const main = renderMain(results, columns);
  const set = contestants.map(({ name, version, setup }) => `- ${name}: ${version}; ${setup}`).join('\n');
  say(`\n${main}\n`);
  report(
    'peers',
    `## Beside its peers\n\n${circumstances.line}\n\n${broken}${main}\n\n${renderDetails(results, columns)}`,
  );
  report('releases', `## Beside the last release\n\n${besideRelease(results, release)}`);
  report('method', METHOD({ ...options, contestants: set }));
  promised(goalRows(results, { subject: SUBJECT, before: release?.name }));
  return failures.length === 0;
}

function besideRelease(results: readonly ScenarioResult[], release: Contestant | undefined): string {
  if (release === undefined) return 'There is no release yet to compare with.';
  const own = results.filter(({ samples }) => (samples.get(release.name) ?? []).length > 0);
  const columns = { subject: SUBJECT, peers: [release.name] };
  return `In the same run. ${release.name}: ${release.version}; ${release.setup}.\n\n${renderMain(own, columns)}

${renderDetails(own, columns)}`;
}

interface Surroundings {
  readonly root: string;
  readonly say: (text: string) => void;
  readonly folder: string;
}

function contestantsOf(options: ComparisonOptions, root: string): Contestant[] {
  const make: Record<ContestantName, () => Contestant> = {
    pierhead: () => pierhead({ root, node: options.node }),
    'docker-registry': dockerRegistryProxy,
    nginx: nginxProxyCache,
    node: () => bareNode(root, options.node),
    direct,
  };
  return options.contestants.map((name) => make[name]());
}

async function measureAll(
  options: ComparisonOptions,
  surroundings: Surroundings & { readonly contestants: readonly Contestant[] },
): Promise<ScenarioResult[]> {
  const { root, say, folder, contestants } = surroundings;
  const scenarios = wantedOf(options);
  say('filling the upstream registry');
  const { bench, places, stop } = await setUp(scenarios, options, surroundings);
  const results: ScenarioResult[] = [];
  try {
    for (const scenario of scenarios) {
      const startedAt = performance.now();
      say(`${scenario.name}: ${scenario.title}`);
      const among = contestants.filter(({ name }) => isAmong(name, scenario));
      const result = await measureScenario(scenario, {
        bench,
        places,
        contestants: await Promise.all(among.map((one) => profiled(one, scenario, options, root))),
        repeats: options.repeats,
        folder,
        onSample: ({ name }, sample) => say(`  ${name.padEnd(16)} ${describe(scenario, sample)}`),
        onFailure: (failure) => say(`  FAILED: ${failure}`),
      });
      say(`  took ${Math.round((performance.now() - startedAt) / 1000)} s`);
      results.push(result);
      await reportProfile(scenario, options, say);
    }
  } finally {
    await stop();
  }
  return results;
}

interface SetUp {
  readonly bench: Bench;
  readonly places: Places;
  readonly stop: () => Promise<void>;
}

/** Upstream, with what the scenarios want of it, and the ways to it. */
async function setUp(
  scenarios: readonly Scenario[],
  { seconds }: ComparisonOptions,
  { root, folder }: Surroundings,
): Promise<SetUp> {
  const content = benchContent();
  const images = { light: layeredImage('light'), heavy: layeredImage('heavy', 6) };
  const blobs = [content.smallBlob, content.largeBlob, ...content.configs];
  const needs = scenarios.flatMap(({ needs: programs = [] }) => programs);
  const pulls = needs.includes('dockerd');
  const pushed = [{ ...content, blobs }, ...(pulls ? Object.values(images) : [])];
  const names = scenarios.map(({ place = 'near' }) => place);
  const enough = Math.ceil((seconds * 1e9) / TORRENT_BLOB_BYTES) + 2;
  const torrent =
    names.includes('torrent') || names.includes('line') ? sparseBlobs(enough, TORRENT_BLOB_BYTES) : [];
  const summaryScript = join(root, 'test/bench/summary.lua');
  const openLoadClient = needs.includes('gcc') ? await compileOpenLoad({ root, folder }) : '';
  const upstream = await startUpstream(join(folder, 'upstream'), pushed);
  try {
    const places = await startPlaces({ names, torrent, folder, registryUrl: upstream.url });
    const stop = async (): Promise<void> => {
      await places.stop();
      await upstream.stop();
    };
    const bench = { content, images, torrent, upstream, seconds, summaryScript, openLoadClient, folder };
    return { bench, places, stop };
  } catch (error) {
    await upstream.stop();
    throw error;
  }
}

function isAmong(name: string, { contestants = CACHES }: Scenario): boolean {
  const isRelease = !CONTESTANT_NAMES.some((known) => known === name);
  return isRelease || contestants.some((contestant) => contestant === name);
}

/** Pierhead under the profiler, if that was asked for. */
async function profiled(
  contestant: Contestant,
  scenario: Scenario,
  { node, profileFolder }: ComparisonOptions,
  root: string,
): Promise<Contestant> {
  if (profileFolder === undefined || contestant.name !== SUBJECT) return contestant;
  const folder = resolve(profileFolder, scenario.name);
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  return pierhead({ root, node, nodeArgs: ['--cpu-prof', '--cpu-prof-dir', folder] });
}

async function reportProfile(
  scenario: Scenario,
  { profileFolder, contestants }: ComparisonOptions,
  say: (text: string) => void,
): Promise<void> {
  if (profileFolder === undefined || !contestants.includes(SUBJECT)) return;
  say(await summarizeProfile(resolve(profileFolder, scenario.name)));
}

function describe({ unit }: Scenario, { value, fillGbPerSecond }: Sample): string {
  const figure = `${unit === 'requests/s' ? Math.round(value) : value.toFixed(3)} ${unit}`;
  return fillGbPerSecond === undefined
    ? figure
    : `${figure}, beside a fill of ${fillGbPerSecond.toFixed(2)} GB/s`;
}
