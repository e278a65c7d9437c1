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
  /** What the state that is compared with has; undefined: it was not measured. */
  readonly before?: string | undefined;
}

interface Promised {
  readonly what: string;
  readonly against?: string;
  readonly unit: string;
  readonly bound: Goal['bound'];
  /** Undefined: it was not measured. */
  readonly figure: number | undefined;
  readonly before?: number | undefined;
}

export function promiseRow({ what, against = '', unit, bound, figure, before }: Promised): GoalRow {
  const [sign, limit] = 'atLeast' in bound ? ['≥', bound.atLeast] : ['≤', bound.atMost];
  const written = (value: number | undefined): string | undefined =>
    value === undefined ? undefined : `${formatNumber(value)}${unit}`;
  return {
    what,
    against,
    goal: `${sign} ${limit.toLocaleString('en')}${unit}`,
    found: written(figure),
    isMet: figure !== undefined && (sign === '≥' ? figure >= limit : figure <= limit),
    before: written(before),
  };
}

/** `before` is another contestant: an earlier state of the subject. */
export function goalRows(
  results: readonly ScenarioResult[],
  { subject, before }: { readonly subject: string; readonly before?: string | undefined },
): GoalRow[] {
  return results.flatMap(({ scenario, samples }) =>
    (scenario.goals ?? []).map(({ against, figure = 'value', bound }) => {
      const peer = against === undefined ? 1 : median(samples.get(against), figure);
      const found = (name: string | undefined): number | undefined => {
        const own = median(name === undefined ? undefined : samples.get(name), figure);
        return own === undefined || peer === undefined ? undefined : own / peer;
      };
      return promiseRow({
        what: `${scenario.title}${describe(scenario, figure)}`,
        ...(against === undefined ? {} : { against }),
        unit: against === undefined ? unitOf(scenario, figure) : '×',
        bound,
        figure: found(subject),
        before: found(before),
      });
    }),
  );
}

function unitOf({ unit }: Scenario, figure: NonNullable<Goal['figure']>): string {
  switch (figure) {
    case 'value':
      return ` ${unit}`;
    case 'cpu':
    case 'mainCpu':
      return ' s';
    case 'upstreamShare':
      return '×';
  }
}

function describe({ unit, cpuPer }: Scenario, figure: NonNullable<Goal['figure']>): string {
  switch (figure) {
    case 'value':
      return unit === 's' ? ': wall time' : '';
    case 'cpu':
      return `: processor time per ${cpuPer ?? 'scenario'}`;
    case 'mainCpu':
      return `: processor time of the serving thread per ${cpuPer ?? 'scenario'}`;
    case 'upstreamShare':
      return ': bytes that upstream sent, of the blob';
  }
}

function median(samples: readonly Sample[] | undefined, figure: keyof Sample): number | undefined {
  const values = (samples ?? []).map((sample) => sample[figure]).filter((value) => value !== undefined);
  return values.length === 0 ? undefined : spread(values).median;
}

/** Rows with what was found of the same promises in the state before. */
export function withBefore(rows: readonly GoalRow[], rowsBefore: readonly GoalRow[]): GoalRow[] {
  const before = new Map(rowsBefore.map(({ what, found }) => [what, found]));
  return rows.map((row) => ({ ...row, before: row.before ?? before.get(row.what) }));
}

/** With a column of what was before, if that was measured. */
export function renderGoals(rows: readonly GoalRow[]): string {
  const hasBefore = rows.some(({ before }) => before !== undefined);
  return table(
    ['goal', 'against', 'wanted', ...(hasBefore ? ['before'] : []), 'found', 'met'],
    rows.map(({ what, against, goal, before, found, isMet }) => [
      what,
      against,
      goal,
      ...(hasBefore ? [before ?? ''] : []),
      found ?? 'not measured',
      found === undefined ? '' : isMet ? 'yes' : '**no**',
    ]),
  );
}
