import { inBenchFolder } from './bench-folder.ts';
import { runCommand, type Command, type CommandContext } from './command.ts';
import { compare, missingForComparison } from './comparison.ts';
import { renderGoals, withBefore, type GoalRow } from './goals.ts';
import { GROWTH } from './growth/growth.ts';
import { IMPORT } from './import.ts';
import { INDEX } from './index-million.ts';
import { circumstances, type Circumstances } from './machine.ts';
import { parseOptions, USAGE, type ComparisonOptions } from './options.ts';
import { builtRelease } from './release.ts';
import { ResultsPage, type SectionName } from './results-page.ts';
import { SLOW_READERS } from './slow-readers.ts';
import { SOAK } from './soak/soak.ts';
import { VARIED } from './varied/varied.ts';

type Runner = (argv: readonly string[], context: CommandContext) => Promise<number>;

/** What runs by its name alone. */
const COMMANDS: ReadonlyMap<string | undefined, Runner> = new Map<string, Runner>([
  ['growth', (argv, context) => runCommand(GROWTH, argv, context)],
  ['slow-readers', (argv, context) => runCommand(SLOW_READERS, argv, context)],
  ['import', (argv, context) => runCommand(IMPORT, argv, context)],
  ['index', (argv, context) => runCommand(INDEX, argv, context)],
  ['soak', (argv, context) => runCommand(SOAK, argv, context)],
  ['varied', (argv, context) => runCommand(VARIED, argv, context)],
]);
/** What a run without a name does after the comparison, and what of it is done again for the state before. */
const AFTERWARDS: readonly { readonly name: string; readonly again?: readonly string[] }[] = [
  // Not again: to fill another index of a million takes minutes.
  { name: 'growth' },
  { name: 'slow-readers', again: [] },
  { name: 'index' },
];

/** Runs the bench in the checkout `root`; resolves to the exit code: 0 done, 1 failed, 2 wrong usage. */
export async function main(argv: readonly string[], root: string): Promise<number> {
  const findings = new Findings(root);
  const [name, ...rest] = argv;
  const command = COMMANDS.get(name);
  if (command !== undefined) {
    const code = await command(
      rest.filter((argument) => argument !== '--no-write'),
      findings.context,
    );
    if (!rest.includes('--no-write')) await findings.write();
    return code;
  }
  const all: Command<ComparisonOptions> = {
    usage: USAGE,
    parse: parseOptions,
    missing: missingForComparison,
    run: (options) => inBenchFolder((folder) => runAll(options, findings, folder)),
  };
  return runCommand(all, argv, findings.context);
}

async function runAll(options: ComparisonOptions, findings: Findings, folder: string): Promise<boolean> {
  const { context } = findings;
  const { node, write, isComplete } = options;
  const before = await builtRelease(options, context, folder);
  let isGood = await compare(options, context, { folder, before });
  if (write) await findings.write();
  for (const { name, again } of isComplete ? AFTERWARDS : []) {
    isGood = (await attempt(name, ['--node', node], context)) && isGood;
    if (before !== undefined && again !== undefined) {
      const args = ['--node', node, ...again];
      await attempt(name, args, { ...findings.contextBefore, root: before.root });
    }
    if (write) await findings.write();
  }
  findings.tellGoals(options);
  if (write) await findings.write();
  return isGood;
}

/** One that breaks does not cost what the others have found. */
async function attempt(name: string, argv: readonly string[], context: CommandContext): Promise<boolean> {
  say(`\n${name}`);
  try {
    return (await COMMANDS.get(name)?.(argv, context)) === 0;
  } catch (error) {
    say(`FAILED: ${name}: ${(error as Error).message}`);
    return false;
  }
}

/** What the commands of a run have found, on its way to RESULTS.md. */
class Findings {
  readonly context: CommandContext;
  readonly #page: ResultsPage;
  readonly #circumstances: Circumstances;
  readonly #sections = new Map<SectionName, string>();
  readonly #goals: GoalRow[] = [];
  readonly #goalsBefore: GoalRow[] = [];

  constructor(root: string) {
    this.#page = new ResultsPage(root);
    this.#circumstances = circumstances(root);
    const { warning } = this.#circumstances;
    if (warning !== undefined) say(`WARNING: ${warning}`);
    this.context = {
      root,
      circumstances: this.#circumstances,
      say,
      report: (section, markdown) => void this.#sections.set(section, markdown),
      promised: (rows) => void this.#goals.push(...rows),
    };
  }

  /** For what is measured of the state before: only what became of the promises is kept. */
  get contextBefore(): CommandContext {
    return {
      ...this.context,
      report: () => undefined,
      promised: (rows) => void this.#goalsBefore.push(...rows),
    };
  }

  /** Their table goes on top of the page if all promises that there are were looked after. */
  tellGoals({ isComplete }: ComparisonOptions): void {
    const table = renderGoals(withBefore(this.#goals, this.#goalsBefore));
    say(`\n${table}\n`);
    if (isComplete) this.#sections.set('goals', `## Goals\n\n${this.#circumstances.line}\n\n${table}`);
  }

  async write(): Promise<void> {
    if (this.#sections.size === 0) return;
    await this.#page.write(this.#sections);
    say(`written to ${this.#page.path}`);
  }
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
