#!/usr/bin/env node
import { Command, CommanderError } from 'commander';
import { configText, configJson } from './cli/config.ts';
import { exitCodeOf } from './cli/failure.ts';
import { unhealthy } from './cli/health.ts';
import { serve, type ExitCode } from './cli/serve.ts';
import { verify } from './cli/verify.ts';
import { packageVersion } from './cli/version.ts';
import { SETTING_FLAGS, type Flags } from './config/flags.ts';
import { loadSettings, type LoadedSettings } from './config/load.ts';

type Action = (loaded: LoadedSettings, flags: Flags) => Promise<ExitCode>;

function createProgram(done: (code: ExitCode) => void): Command {
  const program = new Command('pierhead')
    .description('A caching pull-through edge proxy in front of Docker Hub.')
    .version(packageVersion())
    .exitOverride()
    .showSuggestionAfterError();
  addCommand(program, done, {
    name: 'serve',
    description: 'Runs the mirror. SIGTERM stops it gracefully.',
    action: serve,
  });
  addCommand(program, done, {
    name: 'verify',
    description: 'Hashes all that is stored and says what is wrong. A server may run meanwhile.',
    action: verify,
  })
    .option('--repair', 'remove what is wrong and fetch it anew')
    .option('--json', 'as JSON');
  addCommand(program, done, {
    name: 'config',
    description: 'Prints the effective settings and where each came from; secrets are masked.',
    action: (loaded, flags) => {
      for (const warning of loaded.warnings) process.stderr.write(`warning: ${warning}\n`);
      process.stdout.write(flags['json'] === true ? configJson(loaded.sources) : configText(loaded.sources));
      return Promise.resolve(0);
    },
  }).option('--json', 'as JSON');
  addCommand(program, done, {
    name: 'health',
    description: 'Exits 0 if the server of these settings is alive; for container health checks.',
    action: async (loaded) => {
      const reason = await unhealthy(loaded.settings);
      if (reason !== undefined) process.stderr.write(`pierhead: ${reason}\n`);
      return reason === undefined ? 0 : 1;
    },
  });
  return program;
}

function addCommand(
  program: Command,
  done: (code: ExitCode) => void,
  { name, description, action }: { name: string; description: string; action: Action },
): Command {
  const command = program.command(name).description(description).allowExcessArguments(false).exitOverride();
  for (const { name: flag, argument, help } of SETTING_FLAGS) {
    command.option(argument === undefined ? flag : `${flag} ${argument}`, help);
  }
  return command.action(async (flags: Flags) => {
    const loaded = loadSettings({ flags, env: process.env, cwd: process.cwd() });
    done(await action(loaded, flags));
  });
}

async function run(argv: readonly string[]): Promise<ExitCode> {
  let code: ExitCode = 0;
  try {
    await createProgram((result) => {
      code = result;
    }).parseAsync(argv);
    return code;
  } catch (error) {
    // Commander has said what is wrong; help and version are no failures.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    process.stderr.write(`pierhead: ${error instanceof Error ? error.message : String(error)}\n`);
    return exitCodeOf(error);
  }
}

process.exit(await run(process.argv));
