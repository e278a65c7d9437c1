import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { HEADER_ARGS } from './load.ts';
import { PROGRAM_PATH } from './programs.ts';

const FIRST_BYTES_WITHIN_MS = 10_000;

export interface ReadingOptions {
  /** Read one after the other, or all at once. */
  readonly urls: readonly string[];
  readonly atOnce: number;
}

/** Downloads by a curl of their own, beside what is measured. */
export interface Reading {
  /** Since the first byte. Throws if it is over, with all that was to be read or without. */
  bytesPerSecond(): Promise<number>;
  stop(): Promise<void>;
}

/** Resolves when the first bytes have come. */
export async function startReading({ urls, atOnce }: ReadingOptions): Promise<Reading> {
  const parallel = atOnce > 1 ? ['--parallel', '--parallel-immediate', '--parallel-max', String(atOnce)] : [];
  const outputs = urls.flatMap((url) => ['--output', '/dev/null', url]);
  const args = ['--disable', '--silent', '--fail', ...parallel, ...HEADER_ARGS, ...outputs];
  const child = spawn('curl', args, { env: { PATH: PROGRAM_PATH }, stdio: 'ignore' });
  const exited = once(child, 'exit');
  const kill = (): void => void child.kill('SIGKILL');
  process.once('exit', kill);
  const written = async (): Promise<number> => {
    if (child.exitCode !== null) throw new Error(`curl was done too early, with ${child.exitCode}`);
    return writtenBytes(child.pid ?? 0);
  };
  const stop = async (): Promise<void> => {
    kill();
    await exited;
    process.off('exit', kill);
  };
  try {
    const end = performance.now() + FIRST_BYTES_WITHIN_MS;
    while ((await written()) === 0) {
      if (performance.now() > end) throw new Error('curl has got nothing');
      await sleep(20);
    }
  } catch (error) {
    await stop();
    throw error;
  }
  const [from, startedAt] = [await written(), performance.now()];
  return {
    bytesPerSecond: async () => (((await written()) - from) / (performance.now() - startedAt)) * 1000,
    stop,
  };
}

/** proc(5), `wchar`: what curl has written, all of it to /dev/null; what it sends is counted elsewhere. */
async function writtenBytes(pid: number): Promise<number> {
  const io = await readFile(`/proc/${pid}/io`, 'utf8').catch(() => '');
  return Number(/^wchar: (\d+)$/m.exec(io)?.[1] ?? 0);
}
