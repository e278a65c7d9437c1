import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { deferred } from '../../src/lib/promises.ts';
import { launch, statusOf, type Command } from './launch.ts';
import { notePrinted } from './printed.ts';
import type { TempFolder } from './temp.ts';
import { withDeadline } from './wait.ts';

const STOP_MS = 40_000;
const READY_MS = 20_000;
const TAIL_CHARACTERS = 2000;

/** A program that stays, started by a test, which is to `stop()` or `kill()` it. */
export class RunningProcess {
  readonly pid: number;
  readonly #child: ChildProcess;
  readonly #label: string;
  readonly #closed = deferred<void>();
  readonly #watchers = new Set<() => void>();
  #stdout = '';
  #stderr = '';

  constructor(child: ChildProcess, label: string) {
    if (child.pid === undefined) throw new Error(`${label} has not started`);
    this.pid = child.pid;
    this.#child = child;
    this.#label = label;
    child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      this.#stdout += chunk;
      this.#changed();
    });
    child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
      this.#stderr += chunk;
      this.#changed();
    });
    child.once('close', () => {
      notePrinted(child, this.#stdout + this.#stderr);
      this.#closed.resolve();
      this.#changed();
    });
  }

  /** What it has written to standard output so far. */
  get stdout(): string {
    return this.#stdout;
  }

  get stderr(): string {
    return this.#stderr;
  }

  /** Exit code, or 128 + the signal's number; undefined while it runs. */
  get status(): number | undefined {
    return statusOf(this.#child);
  }

  /**
   * The first value other than undefined that `find` gives, asked whenever something was written. If the process
   * ends or `ms` milliseconds pass before that, this throws with the end of its output.
   */
  async waitForOutput<T>(find: () => T | undefined, label: string, ms = READY_MS): Promise<T> {
    const found = deferred<T>();
    const look = (): void => {
      const value = find();
      if (value !== undefined) found.resolve(value);
      else if (this.status !== undefined) found.reject(new Error(`it ended with ${this.status}`));
    };
    this.#watchers.add(look);
    look();
    try {
      return await withDeadline(found.promise, label, ms);
    } catch (cause) {
      const tail = [this.#stdout, this.#stderr].map((text) => text.slice(-TAIL_CHARACTERS)).join('\n');
      throw new Error(`${this.#label}: no ${label}; its output ends with:\n${tail}`, { cause });
    } finally {
      this.#watchers.delete(look);
    }
  }

  signal(name: NodeJS.Signals): void {
    if (this.status === undefined) this.#child.kill(name);
  }

  /** SIGTERM, then waits for its end and gives the exit code. If that takes 40 s, this kills it and throws. */
  async stop(): Promise<number> {
    this.signal('SIGTERM');
    try {
      return await this.ended();
    } catch (error) {
      await this.kill();
      throw error;
    }
  }

  async kill(): Promise<void> {
    this.signal('SIGKILL');
    await this.ended();
  }

  /** Waits until it is gone and all of its output is here; gives the exit code. */
  async ended(ms = STOP_MS): Promise<number> {
    await withDeadline(this.#closed.promise, `the end of ${this.#label}`, ms);
    return this.status ?? 0;
  }

  #changed(): void {
    for (const look of this.#watchers) look();
  }
}

/** Starts a program that stays. Throws if there is none of that name. */
export async function start(command: Command): Promise<RunningProcess> {
  const child = launch(command);
  await once(child, 'spawn');
  return new RunningProcess(child, command.program);
}

export interface ServerStart<T> extends Command {
  /** What its output tells once it serves; undefined before that. */
  readonly ready: (process: RunningProcess) => T | undefined;
  readonly readyLabel: string;
  /** Its own, removed if it does not start. */
  readonly folder: TempFolder;
}

/** Starts a program and waits until it serves. If it never does, nothing of it is left, and this throws. */
export async function startServer<T>(server: ServerStart<T>): Promise<[process: RunningProcess, ready: T]> {
  let process: RunningProcess | undefined;
  try {
    const started = await start(server);
    process = started;
    return [started, await started.waitForOutput(() => server.ready(started), server.readyLabel)];
  } catch (error) {
    await process?.kill();
    await server.folder.remove();
    throw error;
  }
}
