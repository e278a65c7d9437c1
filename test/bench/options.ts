import { parseArgs } from 'node:util';
import { SCENARIOS } from './scenarios.ts';

export const CONTESTANT_NAMES = ['pierhead', 'docker-registry', 'nginx'] as const;
export type ContestantName = (typeof CONTESTANT_NAMES)[number];

export interface BenchOptions {
  readonly scenarios: readonly string[];
  readonly contestants: readonly ContestantName[];
  readonly repeats: number;
  readonly seconds: number;
  /** The Node binary that runs Pierhead. */
  readonly node: string;
  /** Write RESULTS.md. */
  readonly write: boolean;
  /** Keep CPU profiles of Pierhead in this folder. */
  readonly profileFolder?: string;
}

export const USAGE = `npm run bench -- [options]
npm run bench -- index --help
npm run bench -- slow-readers --help
npm run bench -- soak --help

  --only <names>     scenarios to run, separated by commas: ${SCENARIOS.map(({ name }) => name).join(', ')}
  --against <names>  contestants, separated by commas (default ${CONTESTANT_NAMES.join(',')})
  --repeats <n>      measurements of each contestant in each scenario (default 5)
  --seconds <n>      length of each steady load (default 5)
  --node <path>      the Node binary that runs Pierhead (default: this one)
  --write            write test/bench/RESULTS.md even though not everything ran
  --no-write         do not write it even though everything ran
  --profile <dir>    run Pierhead with --cpu-prof, keep the profiles there, print where the time went;
                     such a run is slower and never writes RESULTS.md
`;

/** The options in `argv`, `help` if they ask for it. Throws with a sentence for the user if they make no sense. */
export function parseOptions(argv: readonly string[]): BenchOptions | 'help' {
  const { values } = parseArgs({
    args: [...argv],
    allowNegative: true,
    options: {
      only: { type: 'string' },
      against: { type: 'string' },
      repeats: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '5' },
      node: { type: 'string', default: process.execPath },
      write: { type: 'boolean' },
      profile: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return 'help';
  const allScenarios = SCENARIOS.map(({ name }) => name);
  const complete = values.only === undefined && values.against === undefined;
  return {
    scenarios: names('--only', values.only, allScenarios),
    contestants: names('--against', values.against, CONTESTANT_NAMES),
    repeats: count('--repeats', values.repeats),
    seconds: count('--seconds', values.seconds),
    node: values.node,
    write: values.profile === undefined && (values.write ?? complete),
    ...(values.profile === undefined ? {} : { profileFolder: values.profile }),
  };
}

function names<N extends string>(
  flag: string,
  text: string | undefined,
  allowed: readonly N[],
): readonly N[] {
  if (text === undefined) return allowed;
  const wanted = text.split(',');
  const unknown = wanted.find((name) => !allowed.some((known) => known === name));
  if (unknown !== undefined) {
    throw new Error(`${flag}: there is no ${unknown}; there are ${allowed.join(', ')}`);
  }
  return allowed.filter((known) => wanted.includes(known));
}

/** `text` as a whole number from 1 up. Throws with a sentence for the user that names `flag`. */
export function count(flag: string, text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1)
    throw new Error(`${flag}: ${text} is not a whole number from 1 up`);
  return value;
}
