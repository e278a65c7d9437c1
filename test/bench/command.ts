import type { GoalRow } from './goals.ts';
import type { Circumstances } from './machine.ts';
import type { SectionName } from './results-page.ts';

/** Something that the bench does. */
export interface Command<O> {
  readonly usage: string;
  /** Throws with a sentence for the user if the options make no sense. */
  readonly parse: (argv: readonly string[]) => O | 'help';
  /** What this machine lacks for it, as a sentence for the user; undefined: nothing. */
  readonly missing: (options: O) => string | undefined;
  /** Resolves to whether all that it was to show holds. */
  readonly run: (options: O, context: CommandContext) => Promise<boolean>;
}

export interface CommandContext {
  /** The checkout, which holds `dist/main.js`. */
  readonly root: string;
  /** As they were before the bench itself gave the machine something to do. */
  readonly circumstances: Circumstances;
  readonly say: (text: string) => void;
  /** Puts something into RESULTS.md. */
  readonly report: (section: SectionName, markdown: string) => void;
  /** Promises that it has looked after. */
  readonly promised: (rows: readonly GoalRow[]) => void;
}

/** Resolves to the exit code: 0 done, 1 failed, 2 wrong usage. */
export async function runCommand<O>(
  command: Command<O>,
  argv: readonly string[],
  context: CommandContext,
): Promise<number> {
  const { say } = context;
  let options: O | 'help';
  try {
    options = command.parse(argv);
  } catch (error) {
    say(`${(error as Error).message}\n\n${command.usage}`);
    return 2;
  }
  if (options === 'help') {
    say(command.usage);
    return 0;
  }
  const missing = command.missing(options);
  if (missing !== undefined) {
    say(missing);
    return 1;
  }
  return (await command.run(options, context)) ? 0 : 1;
}
