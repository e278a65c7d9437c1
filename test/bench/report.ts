import type { ScenarioResult } from './measure.ts';
import type { Sample, Scenario } from './scenarios/scenario.ts';
import { spread, type Spread } from './statistics.ts';

export interface Columns {
  /** Whose figures are divided. */
  readonly subject: string;
  /** Those that they are divided by. */
  readonly peers: readonly string[];
}

/** Figures of the scenarios, and the subject's divided by each peer's, in Markdown. */
export function renderMain(results: readonly ScenarioResult[], { subject, peers }: Columns): string {
  const names = [subject, ...peers];
  return table(
    ['scenario', 'unit', ...names, ...peers.map((peer) => `${subject} ÷ ${peer}`)],
    results.map(({ scenario, samples }) => {
      const values = new Map(names.map((name) => [name, valuesOf(samples, name, ({ value }) => value)]));
      return [
        scenario.title,
        scenario.unit,
        ...names.map((name) => formatSpread(values.get(name))),
        ...peers.map((peer) => ratio(values.get(subject), values.get(peer))),
      ];
    }),
  );
}

interface Detail {
  readonly title: string;
  readonly pick: (sample: Sample) => number | undefined;
  readonly unit: (scenario: Scenario) => string;
}

const perUnit = ({ cpuPer }: Scenario): string => `s per ${cpuPer ?? ''}`;

const DETAILS: readonly Detail[] = [
  {
    title: 'Server processor time',
    // Upstream itself is nobody's server here.
    pick: ({ cpu }) => (cpu === 0 ? undefined : cpu),
    unit: perUnit,
  },
  { title: 'Server processor time of the serving thread', pick: ({ mainCpu }) => mainCpu, unit: perUnit },
  { title: "Server processor time of V8's threads", pick: ({ v8Cpu }) => v8Cpu, unit: perUnit },
  { title: "Server processor time of libuv's pool", pick: ({ poolCpu }) => poolCpu, unit: perUnit },
  { title: 'Server processor time of the hashing thread', pick: ({ workerCpu }) => workerCpu, unit: perUnit },
  { title: 'Latency, median', pick: ({ p50Ms }) => p50Ms, unit: () => 'ms' },
  { title: 'Latency, 99th percentile', pick: ({ p99Ms }) => p99Ms, unit: () => 'ms' },
  { title: 'Sent by upstream', pick: ({ upstreamShare }) => upstreamShare, unit: () => '× the blobs' },
  { title: 'Asked for meanwhile', pick: ({ askedPerSecond }) => askedPerSecond, unit: () => 'requests/s' },
  { title: 'The fill meanwhile', pick: ({ fillGbPerSecond }) => fillGbPerSecond, unit: () => 'GB/s' },
];

/** What else was measured, a table each, in Markdown. */
export function renderDetails(results: readonly ScenarioResult[], { subject, peers }: Columns): string {
  return DETAILS.map((detail) => renderDetail(detail, results, [subject, ...peers]))
    .filter((text) => text !== '')
    .join('\n\n');
}

function renderDetail(
  { title, pick, unit }: Detail,
  results: readonly ScenarioResult[],
  contestants: readonly string[],
): string {
  const own = (name: string, { samples }: ScenarioResult): Spread | undefined =>
    valuesOf(samples, name, pick);
  const names = contestants.filter((name) => results.some((result) => own(name, result) !== undefined));
  const rows = results
    .filter((result) => names.some((name) => own(name, result) !== undefined))
    .map((result) => [
      result.scenario.title,
      unit(result.scenario),
      ...names.map((name) => formatSpread(own(name, result))),
    ]);
  return rows.length === 0 ? '' : `### ${title}\n\n${table(['scenario', 'unit', ...names], rows)}`;
}

function valuesOf(
  samples: ReadonlyMap<string, readonly Sample[]>,
  name: string,
  pick: (sample: Sample) => number | undefined,
): Spread | undefined {
  const values = (samples.get(name) ?? []).map(pick).filter((value) => value !== undefined);
  return values.length === 0 ? undefined : spread(values);
}

/** `1,234 (1,200–1,300)`: the median, the smallest and the largest. */
export function formatSpread(value: Spread | undefined): string {
  if (value === undefined) return '';
  return `${formatNumber(value.median)} (${formatNumber(value.min)}–${formatNumber(value.max)})`;
}

function ratio(subject: Spread | undefined, peer: Spread | undefined): string {
  if (subject === undefined || peer === undefined) return '';
  return `**${formatNumber(subject.median / peer.median)}×**`;
}

/** Three significant digits, whole from a hundred up. */
export function formatNumber(value: number): string {
  if (value >= 100) return Math.round(value).toLocaleString('en');
  return value === 0 ? '0' : value.toPrecision(3);
}

/** In Markdown; columns after the second are figures. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const rule = head.map((_, column) => (column < 2 ? '---' : '---:'));
  return [line(head), line(rule), ...rows.map(line)].join('\n');
}
