import { attempt, type Outcome } from './commands.ts';
import { launch } from './launch.ts';
import { RunningProcess } from './processes.ts';
import { MAIN } from './program.ts';

export interface CommandOptions {
  readonly dataDir: string;
  readonly upstreamUrl: string;
}

/** The built program's `pierhead <command>`, run to its end. */
export function runCommand(args: readonly string[], options: CommandOptions): Promise<Outcome> {
  return attempt(commandLine(args, options));
}

/** The same, to be watched and signalled while it runs. */
export function startCommand(args: readonly string[], options: CommandOptions): RunningProcess {
  return new RunningProcess(launch(commandLine(args, options)), `pierhead ${args.join(' ')}`);
}

function commandLine(args: readonly string[], { dataDir, upstreamUrl }: CommandOptions) {
  const settings = ['--data-dir', dataDir, '--upstream', upstreamUrl];
  return { program: process.execPath, args: [MAIN, ...args, ...settings], cwd: dataDir };
}
