import { once } from 'node:events';
import { buffer, text } from 'node:stream/consumers';
import { launch, statusOf, type Command } from './launch.ts';
import { notePrinted } from './printed.ts';
import { withDeadline } from './wait.ts';

/** How a command ended, and what it wrote. */
export interface Outcome {
  /** Exit code, or 128 + the number of the signal that ended it. */
  readonly status: number;
  readonly stdout: Buffer;
  readonly stderr: string;
}

const DEADLINE_MS = 120_000;

/** Runs a command to its end, whatever that is. After `deadlineMs` milliseconds it is killed, and this throws. */
export async function attempt(command: Command, deadlineMs = DEADLINE_MS): Promise<Outcome> {
  const child = launch(command);
  const all = Promise.all([buffer(child.stdout), text(child.stderr), once(child, 'close')]);
  try {
    const [stdout, stderr] = await withDeadline(all, `the end of ${lineOf(command)}`, deadlineMs);
    notePrinted(child, stdout.toString() + stderr);
    return { status: statusOf(child) ?? 0, stdout, stderr };
  } finally {
    child.kill('SIGKILL');
  }
}

/** Runs a command to its end, and throws with its output if it fails. */
export async function run(command: Command, deadlineMs = DEADLINE_MS): Promise<Outcome> {
  const outcome = await attempt(command, deadlineMs);
  const { status, stdout, stderr } = outcome;
  if (status === 0) return outcome;
  const tail = `${stdout.toString().slice(-2000)}${stderr.slice(-2000)}`;
  throw new Error(`${lineOf(command)} ended with ${status}:\n${tail}`);
}

function lineOf({ program, args }: Command): string {
  return [program, ...args].join(' ');
}
