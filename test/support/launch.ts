import { spawn, type ChildProcess } from 'node:child_process';
import { constants } from 'node:os';

export interface Command {
  /** A name to be found in the system's folders, or a path. */
  readonly program: string;
  readonly args: readonly string[];
  /** On top of the plain environment. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

/**
 * What every program starts from: the caller's own settings must not show. Whatever lies beyond this machine is
 * refused at once, so that a client that gives up on its mirror fails instead of asking the real Docker Hub; Go
 * programs never use a proxy for loopback addresses.
 */
const PLAIN_ENVIRONMENT = {
  PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
  HOME: '/nonexistent',
  LANG: 'C.UTF-8',
  HTTP_PROXY: 'http://127.0.0.1:9',
  HTTPS_PROXY: 'http://127.0.0.1:9',
};

const living = new Set<ChildProcess>();

// A test run that is broken off must leave nothing behind.
process.once('exit', () => {
  for (const child of living) child.kill('SIGKILL');
});

/** Starts a program with nothing on its standard input; it fails to start with the event `error`. */
export function launch(command: Command) {
  const child = spawn(command.program, command.args, {
    env: { ...PLAIN_ENVIRONMENT, ...command.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(command.cwd === undefined ? {} : { cwd: command.cwd }),
  });
  living.add(child);
  child.once('exit', () => living.delete(child));
  return child;
}

/** Exit code; 128 + the number of the signal that ended it, as in a shell; undefined while it runs. */
export function statusOf(child: ChildProcess): number | undefined {
  if (child.signalCode !== null) return 128 + constants.signals[child.signalCode];
  return child.exitCode ?? undefined;
}
