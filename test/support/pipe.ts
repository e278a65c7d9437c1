import { execFileSync } from 'node:child_process';
import { readSync } from 'node:fs';
import { errorCode } from '../../src/lib/errors.ts';

/** Of a pipe, on Linux. */
export const PIPE_BYTES = 64 * 1024;

/** Makes a named pipe. */
export function makePipe(path: string): void {
  execFileSync('mkfifo', [path]);
}

/** What is in a pipe that was opened without waiting; empty if there is nothing, or nobody left who could write. */
export function readNow(fd: number): string {
  const buffer = Buffer.alloc(PIPE_BYTES);
  let text = '';
  try {
    for (let count = readSync(fd, buffer); count > 0; count = readSync(fd, buffer)) {
      text += buffer.toString('latin1', 0, count);
    }
  } catch (error) {
    if (errorCode(error) !== 'EAGAIN') throw error;
  }
  return text;
}
