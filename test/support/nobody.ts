import type { CommandOptions } from './command.ts';
import { attempt, type Outcome } from './commands.ts';
import { MAIN } from './program.ts';

/** `nobody` and `nogroup` of Debian. */
const NOBODY = 65_534;

/** Runs a program as a user of this machine who owns nothing. Needs the rights of root. */
export function asNobody(program: string, args: readonly string[]): Promise<Outcome> {
  const user = [`--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'];
  return attempt({ program: 'setpriv', args: [...user, program, ...args], cwd: '/' });
}

/** The built program's `pierhead <command>`, run by that user. */
export function runAsNobody(
  args: readonly string[],
  { dataDir, upstreamUrl }: CommandOptions,
): Promise<Outcome> {
  const settings = ['--data-dir', dataDir, '--upstream', upstreamUrl];
  return asNobody(process.execPath, [MAIN, ...args, ...settings]);
}
