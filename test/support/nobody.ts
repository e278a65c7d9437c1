import { onTestFinished } from 'vitest';
import type { CommandOptions } from './command.ts';
import { attempt, type Outcome } from './commands.ts';
import { start } from './processes.ts';
import { MAIN } from './program.ts';

/** `nobody` and `nogroup` of Debian. */
export const NOBODY = 65_534;

/** Runs a program as a user of this machine who owns nothing. Needs the rights of root. */
export function asNobody(program: string, args: readonly string[]): Promise<Outcome> {
  return attempt(nobodysLine(program, args));
}

function nobodysLine(program: string, args: readonly string[]) {
  const user = [`--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'];
  return { program: 'setpriv', args: [...user, program, ...args], cwd: '/' };
}

/** The built program's `pierhead <command>`, run by that user. */
export function runAsNobody(
  args: readonly string[],
  { dataDir, upstreamUrl }: CommandOptions,
): Promise<Outcome> {
  const settings = ['--data-dir', dataDir, '--upstream', upstreamUrl];
  return asNobody(process.execPath, [MAIN, ...args, ...settings]);
}

/** A server of that user, which listens to commands by now; it ends with the test. */
export async function serveAsNobody({ dataDir, upstreamUrl }: CommandOptions): Promise<void> {
  const settings = ['--data-dir', dataDir, '--upstream', upstreamUrl];
  const args = [MAIN, 'serve', '--listen', '127.0.0.1:0', '--admin-listen', 'off', ...settings];
  const server = await start(nobodysLine(process.execPath, args));
  onTestFinished(() => server.kill());
  await server.waitForOutput(() => (server.stdout.includes('"ready"') ? true : undefined), 'start');
}
