import { Command, CommanderError, Option } from 'commander';
import { exitCodeOf, messageOf, type ExitCode, packageVersion } from './cli/exit.ts';
import { printAside } from './cli/print.ts';
import { COMMANDS, COMMAND_PLACES, type CommandRow } from './commands.ts';
import { SETTING_FLAGS, type Flags } from './config/flags.ts';
import { loadSettings } from './config/load.ts';

/** The heading of the flags of settings in `--help`. All commands take these. */
export const SETTINGS_HEADING = 'Settings:';

/** The commands with their arguments and flags. `done` gets the exit code of the command that runs. */
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

/** Collects the values of an option that may be given more than once. */
function gathered(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

/** Runs a command line. Resolves to the exit code when all output is written. */
export async function run(argv: readonly string[]): Promise<ExitCode> {
  let lost: NodeJS.ErrnoException | undefined;
  process.stdout.on('error', (error) => (lost = error));
  process.stderr.on('error', () => undefined);
  const code = await runCommand(argv);
  await Promise.all([flushed(process.stdout), flushed(process.stderr)]);
  if (lost === undefined) return code;
  // A closed pipe is no surprise to the user, and a failed command has printed its own error.
  if (lost.code !== 'EPIPE' && code === 0) {
    printAside(`pierhead: the output is incomplete: ${lost.message}\n`);
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
    // Commander has printed the error; help and version have exit code 0.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    printAside(`pierhead: ${messageOf(error)}\n`);
    return exitCodeOf(error);
  }
}

/** Waits for a slow reader of a pipe: the end of the process would drop unread output. */
function flushed(output: NodeJS.WriteStream): Promise<void> {
  // Writes to a file are synchronous, but its errors come as an event.
  if (output.writableLength === 0) return new Promise((done) => setImmediate(done));
  return new Promise((done) => output.write('', () => done()));
}
