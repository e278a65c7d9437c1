import { Command, CommanderError, Option } from 'commander';
import { exitCodeOf, messageOf, type ExitCode, packageVersion } from './cli/exit.ts';
import { printAside } from './cli/print.ts';
import { COMMANDS, COMMAND_PLACES, type CommandRow } from './commands.ts';
import { SETTING_FLAGS, type Flags } from './config/flags.ts';
import { loadSettings } from './config/load.ts';

/** The heading above the flags of settings, which every command takes, in `--help`. */
export const SETTINGS_HEADING = 'Settings:';

/** The commands with their arguments and flags; `done` is told how the one that runs has ended. */
export function createProgram(done: (code: ExitCode) => void): Command {
  const program = new Command('pierhead')
    .description('A caching pull-through edge proxy in front of Docker Hub.')
    .version(packageVersion())
    .exitOverride()
    .showSuggestionAfterError();
  for (const row of COMMANDS) addCommand(program, done, row);
  return program;
}

function addCommand(program: Command, done: (code: ExitCode) => void, row: CommandRow): void {
  const command = program.command(row.name).description(row.description);
  command.allowExcessArguments(false).exitOverride();
  if (row.argument !== undefined) command.argument(...row.argument);
  for (const [flag, help] of row.options ?? []) {
    const once = flag.replace(/\.\.\.$/, '');
    if (once === flag) command.option(flag, help);
    else command.option(once, help, gathered);
  }
  for (const { name: flag, argument, help } of SETTING_FLAGS) {
    const option = new Option(argument === undefined ? flag : `${flag} ${argument}`, help);
    command.addOption(option.helpGroup(SETTINGS_HEADING));
  }
  command.addHelpText('after', `\n${COMMAND_PLACES[row.place]}\n\nExamples:\n${indented(row.examples)}`);
  command.action(async () => {
    const flags: Flags = command.opts();
    const loaded = loadSettings({ flags, env: process.env, cwd: process.cwd() });
    const action = await row.load();
    done(await action(loaded, flags, command.args));
  });
}

function indented(lines: readonly string[]): string {
  return lines.map((line) => `  ${line}`).join('\n');
}

/** Of an option that may be given more than once. */
function gathered(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

/** Runs the command of a command line. Resolves to the exit code once all that it has printed is written. */
export async function run(argv: readonly string[]): Promise<ExitCode> {
  let lost: NodeJS.ErrnoException | undefined;
  process.stdout.on('error', (error) => (lost = error));
  process.stderr.on('error', () => undefined);
  const code = await runCommand(argv);
  await Promise.all([flushed(process.stdout), flushed(process.stderr)]);
  if (lost === undefined) return code;
  // Whoever has closed a pipe knows that; of an error that has been told already nothing more is said.
  if (lost.code !== 'EPIPE' && code === 0) {
    printAside(`pierhead: not all of it could be written: ${lost.message}\n`);
  }
  return code === 0 ? 1 : code;
}

async function runCommand(argv: readonly string[]): Promise<ExitCode> {
  let code: ExitCode = 0;
  try {
    await createProgram((result) => {
      code = result;
    }).parseAsync(argv);
    return code;
  } catch (error) {
    // Commander has said what is wrong; help and version are no failures.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    printAside(`pierhead: ${messageOf(error)}\n`);
    return exitCodeOf(error);
  }
}

/** What a slow reader of a pipe has not taken yet would be lost with the process. */
function flushed(output: NodeJS.WriteStream): Promise<void> {
  // A file takes what it takes at once, and an error of it comes after that.
  if (output.writableLength === 0) return new Promise((done) => setImmediate(done));
  return new Promise((done) => output.write('', () => done()));
}
