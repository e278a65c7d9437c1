import { parseArgs } from 'node:util';
import { SCENARIOS } from './scenarios/list.ts';
import { CONTESTANT_NAMES, type ContestantName } from './scenarios/scenario.ts';

export interface ComparisonOptions {
  readonly scenarios: readonly string[];
  readonly contestants: readonly ContestantName[];
  /** Another state of the project to compare with; default the last release; false: none. */
  readonly against: string | false | undefined;
  readonly repeats: number;
  readonly seconds: number;
  /** The Node binary that runs Pierhead. */
  readonly node: string;
  /** Nothing was left out. */
  readonly isComplete: boolean;
  /** Write RESULTS.md. */
  readonly write: boolean;
  /** Keep CPU profiles of Pierhead in this folder. */
  readonly profileFolder?: string;
}

export const USAGE = `npm run bench -- [options]
npm run bench -- growth --help
npm run bench -- import --help
npm run bench -- index --help
npm run bench -- slow-readers --help
npm run bench -- soak --help
npm run bench -- varied --help

  Measures Pierhead beside its peers, and then growth, slow-readers and index as well, unless --only or --contestants
  is given. What it finds goes into test/bench/RESULTS.md.

  --only <names>        scenarios to run, separated by commas:
${wrapped(SCENARIOS.map(({ name }) => name))}
  --contestants <names> separated by commas (default ${CONTESTANT_NAMES.join(',')})
  --against <ref>       compare with this tag, branch or commit, too, which is built in a folder of its own by npm ci
                        and npm run build; the table of goals tells what it had before, a million manifests and
                        slow readers included if everything runs (default: the last tag, if there is one;
                        --no-against: nothing)
  --repeats <n>         measurements of each contestant in each scenario (default 3)
  --seconds <n>         length of each steady load (default 4)
  --node <path>         the Node binary that runs Pierhead (default: this one)
  --write               write RESULTS.md even though not everything ran
  --no-write            do not write it even though everything ran
  --profile <dir>       run Pierhead with --cpu-prof, keep the profiles there, print where the time went;
                        such a run is slower and never writes RESULTS.md
`;

function wrapped(list: readonly string[]): string {
  const lines = [''];
  for (const name of list) {
    const line = lines.at(-1) ?? '';
    if (line.length + name.length > 84) lines.push(name);
    else lines[lines.length - 1] = line === '' ? name : `${line}, ${name}`;
  }
  return lines.map((line) => `                        ${line}`).join('\n');
}

/** The options in `argv`, `help` if they ask for it. Throws with a sentence for the user if they make no sense. */
export function parseOptions(argv: readonly string[]): ComparisonOptions | 'help' {
  // parseArgs allows --no-against for flags only.
  const args = argv.filter((argument) => argument !== '--no-against');
  const { values } = parseArgs({
    args,
    allowNegative: true,
    options: {
      only: { type: 'string' },
      contestants: { type: 'string' },
      against: { type: 'string' },
      repeats: { type: 'string', default: '3' },
      seconds: { type: 'string', default: '4' },
      node: { type: 'string', default: process.execPath },
      write: { type: 'boolean' },
      profile: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return 'help';
  const allScenarios = SCENARIOS.map(({ name }) => name);
  const isComplete =
    values.only === undefined && values.contestants === undefined && values.profile === undefined;
  return {
    scenarios: names('--only', values.only, allScenarios),
    contestants: names('--contestants', values.contestants, CONTESTANT_NAMES),
    against: args.length < argv.length ? false : values.against,
    repeats: count('--repeats', values.repeats),
    seconds: count('--seconds', values.seconds),
    node: values.node,
    isComplete,
    write: values.profile === undefined && (values.write ?? isComplete),
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
