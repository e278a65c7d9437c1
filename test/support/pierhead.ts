import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startServer, type RunningProcess } from './processes.ts';
import { MAIN } from './program.ts';
import { tempFolder, type TempFolder } from './temp.ts';

export interface PierheadOptions {
  readonly upstreamUrl: string;
  /** Further settings by environment name without its prefix, e.g. `{ TAG_TTL: '0s' }`. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Variables besides, by their whole names. */
  readonly env?: Readonly<Record<string, string>>;
  /** Default a folder of its own, removed by `close()`. */
  readonly dataDir?: string;
}

/** A line of the log: JSON as pino writes it. */
export type LogLine = Readonly<Record<string, unknown>>;

/** The built program, as a user runs it, on free ports of 127.0.0.1. */
export class Pierhead {
  /** Of the registry API, e.g. `http://127.0.0.1:40123`. */
  readonly url: string;
  readonly adminUrl: string;
  /** Undefined: it has no accounts. */
  readonly authUrl: string | undefined;
  readonly #process: RunningProcess;
  readonly #folder: TempFolder;

  constructor(process: RunningProcess, addresses: Addresses, folder: TempFolder) {
    this.url = addresses.listen;
    this.adminUrl = addresses.adminListen;
    this.authUrl = addresses.authListen;
    this.#process = process;
    this.#folder = folder;
  }

  /** Of the registry API: `127.0.0.1:<port>`. */
  get host(): string {
    return new URL(this.url).host;
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** All that it has written so far. */
  get output(): string {
    return this.#process.stdout + this.#process.stderr;
  }

  /** The log so far. A request's line is written when its answer has ended, shortly after the client has it. */
  get log(): readonly LogLine[] {
    return logLines(this.#process.stdout);
  }

  /** The first line of the log, past or to come, that `predicate` holds for. */
  waitForLog(predicate: (line: LogLine) => boolean, label: string): Promise<LogLine> {
    return this.#process.waitForOutput(() => this.log.find(predicate), label);
  }

  /** SIGTERM; gives the exit code. */
  stop(): Promise<number> {
    return this.#process.stop();
  }

  /** The files of its own folder whose names or contents hold one of `secrets`. */
  async filesWith(secrets: readonly string[]): Promise<string[]> {
    const entries = await readdir(this.#folder.path, { recursive: true, withFileTypes: true });
    const holding: string[] = [];
    for (const path of entries
      .filter((each) => each.isFile())
      .map((each) => join(each.parentPath, each.name))) {
      const content = await readFile(path);
      if (secrets.some((secret) => path.includes(secret) || content.includes(secret))) holding.push(path);
    }
    return holding;
  }

  kill(): Promise<void> {
    return this.#process.kill();
  }

  async close(): Promise<void> {
    if (this.#process.status === undefined) await this.stop();
    await this.#folder.remove();
  }
}

/** Base URLs. */
export interface Addresses {
  readonly listen: string;
  readonly authListen?: string;
  readonly adminListen: string;
}

/** Runs `serve` and waits until it is ready; `close()` it. */
export async function startPierhead(options: PierheadOptions): Promise<Pierhead> {
  const folder = await tempFolder();
  const { dataDir = join(folder.path, 'data'), settings = {} } = options;
  const free = ['--listen', '127.0.0.1:0', '--admin-listen', '127.0.0.1:0'];
  const [server, addresses] = await startServer({
    program: process.execPath,
    args: [MAIN, 'serve', ...free, '--data-dir', dataDir, '--upstream', options.upstreamUrl],
    env: {
      ...options.env,
      ...Object.fromEntries(Object.entries(settings).map(([name, value]) => [`PIERHEAD_${name}`, value])),
    },
    cwd: folder.path,
    ready: ({ stdout }) => addressesIn(stdout),
    readyLabel: 'line that says it is ready',
    folder,
  });
  return new Pierhead(server, addresses, folder);
}

/** Where a Pierhead with this output listens; undefined before it is ready. */
export function addressesIn(output: string): Addresses | undefined {
  return logLines(output).find(isReadyLine);
}

function isReadyLine(line: LogLine): line is LogLine & Addresses {
  return (
    line['msg'] === 'ready' && typeof line['listen'] === 'string' && typeof line['adminListen'] === 'string'
  );
}

/** Whole lines only: the last one may still be on its way. */
function logLines(output: string): LogLine[] {
  const lines = output.slice(0, output.lastIndexOf('\n') + 1).split('\n');
  return lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as LogLine);
}
