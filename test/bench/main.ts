import { runCommand, type CommandContext } from './command.ts';
import { COMPARISON } from './comparison.ts';
import { renderGoals, type GoalRow } from './goals.ts';
import { GROWTH } from './growth/growth.ts';
import { IMPORT } from './import.ts';
import { INDEX } from './index-million.ts';
import { circumstances, type Circumstances } from './machine.ts';
import { parseOptions, type ComparisonOptions } from './options.ts';
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
/** What a run without a name does after the comparison. */
const AFTERWARDS = ['growth', 'slow-readers', 'index'];

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
  const options = comparisonOptions(argv);
  let code = await runCommand(COMPARISON, argv, findings.context);
  if (options === undefined) return code;
  if (options.write) await findings.write();
  for (const each of options.isComplete ? AFTERWARDS : []) {
    say(`\n${each}`);
    code = Math.max(code, await attempt(each, options, findings.context));
    if (options.write) await findings.write();
  }
  findings.tellGoals(options);
  if (options.write) await findings.write();
  return code;
}

/** One that breaks does not cost what the others have found. */
async function attempt(name: string, { node }: ComparisonOptions, context: CommandContext): Promise<number> {
  try {
    return (await COMMANDS.get(name)?.(['--node', node], context)) ?? 1;
  } catch (error) {
    say(`FAILED: ${name}: ${(error as Error).message}`);
    return 1;
  }
}

/** Undefined: they make no sense, or ask for help; the command itself says so. */
function comparisonOptions(argv: readonly string[]): ComparisonOptions | undefined {
  try {
    const options = parseOptions(argv);
    return options === 'help' ? undefined : options;
  } catch {
    return undefined;
  }
}

/** What the commands of a run have found, on its way to RESULTS.md. */
class Findings {
  readonly context: CommandContext;
  readonly #page: ResultsPage;
  readonly #circumstances: Circumstances;
  readonly #sections = new Map<SectionName, string>();
  readonly #goals: GoalRow[] = [];

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

  /** Their table goes on top of the page if all promises that there are were looked after. */
  tellGoals({ isComplete }: ComparisonOptions): void {
    const table = renderGoals(this.#goals);
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
