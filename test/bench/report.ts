import type { Contestant } from './contestants.ts';
import type { Sample, Scenario } from './scenarios.ts';
import { spread, type Spread } from './statistics.ts';

/** What one scenario gave: samples by the name of the contestant. */
export interface ScenarioResult {
  readonly scenario: Scenario;
  readonly samples: ReadonlyMap<string, readonly Sample[]>;
}

/** Pierhead is the subject; its peers are what it is divided by. */
const SUBJECT = 'pierhead';

/** The tables of the report, in Markdown. */
export function renderTables(results: readonly ScenarioResult[], contestants: readonly Contestant[]): string {
  const names = contestants.map(({ name }) => name);
  const peers = names.filter((name) => name !== SUBJECT);
  const ratios = names.includes(SUBJECT) ? peers : [];
  const main = table(
    ['scenario', 'unit', ...names, ...ratios.map((peer) => `${SUBJECT} ÷ ${peer}`)],
    results.map(({ scenario, samples }) => {
      const values = new Map(names.map((name) => [name, valuesOf(samples, name, ({ value }) => value)]));
      return [
        scenario.title,
        scenario.unit,
        ...names.map((name) => formatSpread(values.get(name))),
        ...ratios.map((peer) => ratio(values.get(SUBJECT), values.get(peer))),
      ];
    }),
  );
  const details = [
    detail(
      'Server processor time',
      results,
      names,
      ({ cpu }) => cpu,
      ({ cpuPer }) => `s per ${cpuPer}`,
    ),
    detail(
      'Latency, median',
      results,
      names,
      ({ p50Ms }) => p50Ms,
      () => 'ms',
    ),
    detail(
      'Latency, 99th percentile',
      results,
      names,
      ({ p99Ms }) => p99Ms,
      () => 'ms',
    ),
    detail(
      'Sent by upstream',
      results,
      names,
      ({ upstreamShare }) => upstreamShare,
      () => '× the blob',
    ),
  ];
  return [main, ...details].filter((text) => text !== '').join('\n\n');
}

function detail(
  title: string,
  results: readonly ScenarioResult[],
  names: readonly string[],
  pick: (sample: Sample) => number | undefined,
  unit: (scenario: Scenario) => string,
): string {
  const rows = results
    .map(({ scenario, samples }) => ({
      scenario,
      spreads: names.map((name) => valuesOf(samples, name, pick)),
    }))
    .filter(({ spreads }) => spreads.some((value) => value !== undefined))
    .map(({ scenario, spreads }) => [scenario.title, unit(scenario), ...spreads.map(formatSpread)]);
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
function formatNumber(value: number): string {
  if (value >= 100) return Math.round(value).toLocaleString('en');
  return value === 0 ? '0' : value.toPrecision(3);
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const rule = head.map((_, column) => (column < 2 ? '---' : '---:'));
  return [line(head), line(rule), ...rows.map(line)].join('\n');
}
