import type { ScenarioResult } from './measure.ts';
import { formatNumber, table } from './report.ts';
import type { Goal, Sample, Scenario } from './scenarios/scenario.ts';
import { spread } from './statistics.ts';

/** A promise, and what became of it. */
export interface GoalRow {
  readonly what: string;
  /** Empty: nobody; it is a promise of the figure itself. */
  readonly against: string;
  readonly goal: string;
  /** Undefined: it was not measured. */
  readonly found: string | undefined;
  readonly isMet: boolean;
}

/** Of one figure that must not be more than `atMost`. */
export function limitRow(what: string, figure: number, atMost: number, unit: string): GoalRow {
  return {
    what,
    against: '',
    goal: `≤ ${formatNumber(atMost)} ${unit}`,
    found: `${formatNumber(figure)} ${unit}`,
    isMet: figure <= atMost,
  };
}

export function goalRows(results: readonly ScenarioResult[], subject: string): GoalRow[] {
  return results.flatMap((result) =>
    (result.scenario.goals ?? []).map((goal) => goalRow(result, goal, subject)),
  );
}

function goalRow({ scenario, samples }: ScenarioResult, goal: Goal, subject: string): GoalRow {
  const { against, figure = 'value', bound } = goal;
  const own = median(samples.get(subject), figure);
  const peer = against === undefined ? 1 : median(samples.get(against), figure);
  const found = own === undefined || peer === undefined ? undefined : own / peer;
  const unit = against === undefined && figure === 'value' ? ` ${scenario.unit}` : '×';
  const [sign, limit] = 'atLeast' in bound ? ['≥', bound.atLeast] : ['≤', bound.atMost];
  const isMet = found !== undefined && ('atLeast' in bound ? found >= limit : found <= limit);
  return {
    what: `${scenario.title}${describe(scenario, figure)}`,
    against: against ?? '',
    goal: `${sign} ${limit}${unit}`,
    found: found === undefined ? undefined : `${formatNumber(found)}${unit}`,
    isMet,
  };
}

function describe({ unit, cpuPer }: Scenario, figure: keyof Sample): string {
  switch (figure) {
    case 'cpu':
      return `: processor time per ${cpuPer ?? 'scenario'}`;
    case 'upstreamShare':
      return ': bytes that upstream sent, of the blob';
    default:
      return unit === 's' ? ': wall time' : '';
  }
}

function median(samples: readonly Sample[] | undefined, figure: keyof Sample): number | undefined {
  const values = (samples ?? []).map((sample) => sample[figure]).filter((value) => value !== undefined);
  return values.length === 0 ? undefined : spread(values).median;
}

export function renderGoals(rows: readonly GoalRow[]): string {
  return table(
    ['goal', 'against', 'wanted', 'found', 'met'],
    rows.map(({ what, against, goal, found, isMet }) => [
      what,
      against,
      goal,
      found ?? 'not measured',
      found === undefined ? '' : isMet ? 'yes' : '**no**',
    ]),
  );
}
