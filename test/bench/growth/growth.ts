import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { inBenchFolder } from '../bench-folder.ts';
import type { Command, CommandContext } from '../command.ts';
import { promiseRow, type GoalRow } from '../goals.ts';
import { count } from '../options.ts';
import { installHint, missingPrograms } from '../programs.ts';
import { formatNumber, table } from '../report.ts';
import type { Axis, GrowthPoint } from './axis.ts';
import { CONNECTIONS } from './connections.ts';
import { FILLS } from './fills.ts';
import { MANIFESTS } from './manifests.ts';
import { growthPlot } from './plot.ts';

const AXES: readonly Axis[] = [MANIFESTS, CONNECTIONS, FILLS];
const PLOT_FILE = 'growth.svg';

const USAGE = `npm run bench -- growth [options]

  Requests per second and their 99th percentile, as there are more cached manifests, more connections and more running
  fills. Writes a table and a plot (test/bench/${PLOT_FILE}).

  --only <names>     of ${AXES.map(({ name }) => name).join(', ')}; such a run writes nothing
  --at-most <n>      leave out amounts above this; such a run writes nothing
  --seconds <n>      length of each load (default 4)
  --node <path>      the Node binary that runs Pierhead (default: this one)
  --no-write         leave RESULTS.md and the plot as they are
`;

interface GrowthOptions {
  readonly axes: readonly Axis[];
  readonly atMost: number;
  readonly seconds: number;
  readonly node: string;
  readonly write: boolean;
}

function parse(argv: readonly string[]): GrowthOptions | 'help' {
  const { values } = parseArgs({
    args: [...argv],
    allowNegative: true,
    options: {
      only: { type: 'string' },
      'at-most': { type: 'string' },
      seconds: { type: 'string', default: '4' },
      node: { type: 'string', default: process.execPath },
      write: { type: 'boolean' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return 'help';
  const wanted = values.only?.split(',') ?? AXES.map(({ name }) => name);
  const unknown = wanted.find((name) => !AXES.some((axis) => axis.name === name));
  if (unknown !== undefined) throw new Error(`--only: there is no ${unknown}`);
  const atMost = values['at-most'];
  return {
    axes: AXES.filter(({ name }) => wanted.includes(name)),
    atMost: atMost === undefined ? Infinity : count('--at-most', atMost),
    seconds: count('--seconds', values.seconds),
    node: values.node,
    write: values.write ?? (values.only === undefined && atMost === undefined),
  };
}

export const GROWTH: Command<GrowthOptions> = {
  usage: USAGE,
  parse,
  missing() {
    const missing = missingPrograms(['gcc']);
    return missing.length > 0 ? installHint(missing) : undefined;
  },
  run: (options, context) =>
    inBenchFolder(async (folder) => {
      const found = new Map<Axis, GrowthPoint[]>();
      for (const axis of options.axes) found.set(axis, await measureAxis(axis, options, context, folder));
      context.promised([...found].flatMap(([axis, points]) => promisesOf(axis, points)));
      if (options.write) await write(found, context);
      return true;
    }),
};

async function measureAxis(
  axis: Axis,
  { atMost, node, seconds }: GrowthOptions,
  { root, say }: CommandContext,
  parent: string,
): Promise<GrowthPoint[]> {
  say(`${axis.noun}: ${axis.load}`);
  const points: GrowthPoint[] = [];
  const folder = join(parent, axis.name);
  await mkdir(folder);
  const onPoint = (point: GrowthPoint): void => {
    points.push(point);
    say(
      `  ${point.amount}: ${formatNumber(point.perSecond)} requests/s, p99 ${formatNumber(point.p99Ms)} ms`,
    );
  };
  const amounts = axis.amounts.filter((amount) => amount <= atMost);
  await axis.measure({ root, node, folder, seconds, onPoint }, amounts);
  await rm(folder, { recursive: true, force: true });
  return points;
}

/** Two, if it was measured there. */
function promisesOf({ noun, goal }: Axis, points: readonly GrowthPoint[]): GoalRow[] {
  const point = points.find(({ amount }) => amount === goal?.amount);
  if (goal === undefined || point === undefined) return [];
  const what = `${formatNumber(goal.amount)} ${noun}, any of them, 16 connections`;
  return [
    promiseRow({
      what,
      unit: ' requests/s',
      bound: { atLeast: goal.perSecondAtLeast },
      figure: point.perSecond,
    }),
    promiseRow({
      what: `${what}, 99th percentile`,
      unit: ' ms',
      bound: { atMost: goal.p99MsAtMost },
      figure: point.p99Ms,
    }),
  ];
}

async function write(
  found: ReadonlyMap<Axis, readonly GrowthPoint[]>,
  { root, circumstances, report }: CommandContext,
): Promise<void> {
  const panels = [...found].map(([{ noun }, points]) => ({ noun, points }));
  await writeFile(join(root, 'test/bench', PLOT_FILE), growthPlot(panels));
  const tables = [...found].map(([{ noun, load }, points]) => {
    const head = [noun, '', ...points.map(({ amount }) => amount.toLocaleString('en'))];
    return `${load}:\n\n${table(head, [
      ['', 'requests/s', ...points.map(({ perSecond }) => formatNumber(perSecond))],
      ['', '99th percentile, ms', ...points.map(({ p99Ms }) => formatNumber(p99Ms))],
    ])}`;
  });
  report(
    'growth',
    `## How cost grows\n\n${circumstances.line}\n\n![Plot of the tables below](${PLOT_FILE})\n\n${tables.join('\n\n')}`,
  );
}
