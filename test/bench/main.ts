import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { inBenchFolder } from './bench-folder.ts';
import { runCommand } from './command.ts';
import { benchContent } from './content.ts';
import { dockerRegistryProxy, nginxProxyCache, pierhead, type Contestant } from './contestants.ts';
import { summarizeProfile } from './cpu-profile.ts';
import { measureIndex } from './index-million.ts';
import { commit, machine } from './machine.ts';
import { startFarUpstream } from './far-upstream.ts';
import { layeredImage } from './layers.ts';
import { measureScenario } from './measure.ts';
import { parseOptions, USAGE, type BenchOptions, type ContestantName } from './options.ts';
import { installHint, missingPrograms, programVersion } from './programs.ts';
import { renderTables, type ScenarioResult } from './report.ts';
import { FAR, SCENARIOS, type Scenario } from './scenarios.ts';
import { SLOW_READERS } from './slow-readers.ts';
import { SOAK } from './soak/soak.ts';
import { startUpstream } from './upstream.ts';

/** Runs the bench in the checkout `root`; resolves to the exit code: 0 done, 1 failed, 2 wrong usage. */
export async function main(argv: readonly string[], root: string): Promise<number> {
  const [name, ...rest] = argv;
  if (name === 'index') return measureIndex(rest, root);
  if (name === 'slow-readers') return runCommand(SLOW_READERS, rest, { root, say });
  if (name === 'soak') return runCommand(SOAK, rest, { root, say });
  let parsed: BenchOptions | 'help';
  try {
    parsed = parseOptions(argv);
  } catch (error) {
    say(`${(error as Error).message}\n\n${USAGE}`);
    return 2;
  }
  if (parsed === 'help') {
    say(USAGE);
    return 0;
  }
  const options = parsed;
  const wanted = SCENARIOS.filter((scenario) => options.scenarios.includes(scenario.name));
  const missing = missingPrograms(wanted.flatMap(({ needs = [] }) => needs));
  if (missing.length > 0) {
    say(installHint(missing));
    return 1;
  }
  await inBenchFolder((folder) => runBench(options, wanted, { root, folder }));
  return 0;
}

async function runBench(
  options: BenchOptions,
  scenarios: readonly Scenario[],
  { root, folder }: { readonly root: string; readonly folder: string },
): Promise<void> {
  const startedAt = new Date();
  const contestants = contestantsOf(options, root);
  say('filling the upstream registry');
  const content = benchContent();
  const layered = layeredImage();
  const { smallBlob, largeBlob, configs } = content;
  const blobs = [smallBlob, largeBlob, ...configs];
  const upstream = await startUpstream(join(folder, 'upstream'), [{ ...content, blobs }, layered]);
  const far = await startFarUpstream({ registryUrl: upstream.url, folder: join(folder, 'far'), ...FAR });
  const summaryScript = join(root, 'test/bench/summary.lua');
  const farUpstreamUrl = far.url;
  const { seconds } = options;
  const bench = { content, layered, upstream, farUpstreamUrl, seconds, summaryScript, folder };
  const results: ScenarioResult[] = [];
  try {
    for (const scenario of scenarios) {
      say(`${scenario.name}: ${scenario.title}`);
      const runners = await Promise.all(
        contestants.map((contestant) => profiled(contestant, scenario, options, root)),
      );
      const result = await measureScenario(scenario, {
        bench,
        contestants: runners,
        repeats: options.repeats,
        folder,
        onSample: ({ name }, sample) => say(`  ${name.padEnd(16)} ${describe(scenario, sample.value)}`),
      });
      results.push(result);
      await reportProfile(scenario, options);
    }
  } finally {
    await far.stop();
    await upstream.stop();
  }
  const tables = renderTables(results, contestants);
  say(`\n${tables}`);
  if (options.write) await writeResults({ tables, contestants, options, root, startedAt });
}

function contestantsOf(options: BenchOptions, root: string): Contestant[] {
  const make: Record<ContestantName, () => Contestant> = {
    pierhead: () => pierhead({ root, node: options.node }),
    'docker-registry': dockerRegistryProxy,
    nginx: nginxProxyCache,
  };
  return options.contestants.map((name) => make[name]());
}

/** Pierhead under the profiler, if that was asked for. */
async function profiled(
  contestant: Contestant,
  scenario: Scenario,
  options: BenchOptions,
  root: string,
): Promise<Contestant> {
  if (options.profileFolder === undefined || contestant.name !== 'pierhead') return contestant;
  const folder = profileFolder(options.profileFolder, scenario);
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  return pierhead({ root, node: options.node, nodeArgs: ['--cpu-prof', '--cpu-prof-dir', folder] });
}

async function reportProfile(scenario: Scenario, options: BenchOptions): Promise<void> {
  if (options.profileFolder === undefined || !options.contestants.includes('pierhead')) return;
  say(await summarizeProfile(profileFolder(options.profileFolder, scenario)));
}

function profileFolder(parent: string, scenario: Scenario): string {
  return resolve(parent, scenario.name);
}

function describe({ unit }: Scenario, value: number): string {
  return `${unit === 'requests/s' ? Math.round(value) : value.toFixed(3)} ${unit}`;
}

/** Everything from this line on is written by hand and kept. */
const NOTES_MARK = '<!-- notes: kept by the bench -->';

interface Report {
  readonly tables: string;
  readonly contestants: readonly Contestant[];
  readonly options: BenchOptions;
  readonly root: string;
  readonly startedAt: Date;
}

async function writeResults({ tables, contestants, options, root, startedAt }: Report): Promise<void> {
  const path = join(root, 'test/bench/RESULTS.md');
  const before = await readFile(path, 'utf8').catch(() => '');
  const notes = before.includes(NOTES_MARK) ? before.slice(before.indexOf(NOTES_MARK)) : `${NOTES_MARK}\n`;
  const set = contestants.map(({ name, version, setup }) => `- ${name}: ${version}; ${setup}`);
  const page = `# Results of \`npm run bench\`

${startedAt.toISOString().slice(0, 10)}, commit ${commit(root) ?? 'unknown'}. ${machine()}.

${tables}

## How it was measured

Figures are medians of ${options.repeats} measurements, with the smallest and the largest; contestants took turns. A
ratio is Pierhead's figure divided by the peer's: above 1 is better for rates, below 1 for times. Upstream, the
contestant and the client share this machine and its loopback interface, so cold figures say what each costs in
processor time rather than what a network would allow.

Upstream is ${programVersion('docker-registry')} on a directory. Requests are counted by \`wrk\` with one thread for
${options.seconds} s after a warm-up. Blobs of 512 MB are downloaded by one \`curl\`; cold ones from its start to its
exit, on an empty cache that has seen the manifests only. Before each measurement what is served is compared with its
digest, and a hot one fails if upstream had to send any of the blob. What upstream sent comes from its access log.
Pulls are those of a Docker Engine with an empty store, from upstream behind a relay that takes half a round trip each
way, a whole one to connect, and lets so many bytes per second through, and like Docker Hub it sends who asks for a blob
on to another host; relay, engine and its unpacking share this machine too.
On a machine with two cores the client has one of them: a server that needs little processor time for large blobs
is held back by its client, and the table of processor time tells more than the rate.

${set.join('\n')}
- clients: ${programVersion('wrk')}; ${programVersion('curl')}

${notes}`;
  await writeFile(path, page);
  say(`written to ${path}`);
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
