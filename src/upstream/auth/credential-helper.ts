import { spawn, type ChildProcess } from 'node:child_process';
import { runningTime } from '../../lib/clock.ts';
import { parseJson } from '../../lib/json.ts';
import { deferred } from '../../lib/promises.ts';
import { unavailable } from '../upstream.ts';
import { storedLogin, type LoginSource, type StoredLogin } from './logins.ts';

/** Some helpers ask a cloud. */
const ANSWER_WITHIN_MS = 10_000;
const MAX_ANSWER_BYTES = 64 * 1024;
/** Far below the 12 h of ECR or the 1 h of GAR: the helper has its own cache and reads the expiry. */
const KEPT_MS = 5 * 60_000;
/** A login that is refused this soon after its fetch would be the same again. */
const MIN_RENEWAL_MS = 1000;

export interface CredentialHelperOptions {
  /** The name after `docker-credential-`. */
  readonly helper: string;
  /** Docker's name of the registry in credential stores. */
  readonly server: string;
  /** Ms since the epoch. */
  readonly now: () => number;
  /** Default 10 s. */
  readonly answerWithinMs?: number;
}

/**
 * Runs `docker-credential-<helper>` (docker/docker-credential-helpers, `get`): the server's URL on its standard
 * input, JSON on its standard output. No message quotes its output.
 */
export class CredentialHelper implements LoginSource {
  readonly #options: CredentialHelperOptions;
  #login: Promise<StoredLogin> | undefined;
  #askedAt = -Infinity;

  constructor(options: CredentialHelperOptions) {
    this.#options = options;
  }

  get name(): string {
    return `docker-credential-${this.#options.helper}`;
  }

  get(): Promise<StoredLogin> {
    const now = this.#options.now();
    if (this.#login !== undefined && now - this.#askedAt < KEPT_MS) return this.#login;
    this.#askedAt = now;
    const login = this.#ask();
    this.#login = login;
    // A failure is not kept: the next request runs the helper again.
    login.catch(() => {
      if (this.#login === login) this.#login = undefined;
    });
    return login;
  }

  rejected(): boolean {
    const isRecent = this.#options.now() - this.#askedAt < MIN_RENEWAL_MS;
    if (!isRecent) this.#login = undefined;
    return !isRecent;
  }

  async #ask(): Promise<StoredLogin> {
    const { server, answerWithinMs = ANSWER_WITHIN_MS } = this.#options;
    const { code, output } = await run(this.name, server, answerWithinMs);
    if (code !== 0) {
      const isMissing = /credentials not found/i.test(output);
      const what = isMissing ? `holds no credentials for ${server}` : `ended with exit code ${code}`;
      throw unavailable('credentials', `${this.name} ${what}`);
    }
    const login = parseHelperAnswer(output);
    if (login === undefined) {
      throw unavailable('credentials', `${this.name} printed no user name and secret`);
    }
    return login;
  }
}

/** The login in a helper's output; undefined if it holds none. */
export function parseHelperAnswer(output: string): StoredLogin | undefined {
  let document: unknown;
  try {
    document = parseJson(output);
  } catch {
    return undefined;
  }
  if (typeof document !== 'object' || document === null) return undefined;
  const fields: { readonly [key: string]: unknown } = { ...document };
  return storedLogin(fields['Username'], fields['Secret']);
}

/** Without free file descriptors, `spawn` returns a process without pipes, and the error follows. */
type Child = Pick<ChildProcess, 'pid' | 'once' | 'stdin' | 'stdout'>;

/**
 * Runs `program get` without a shell. Throws UpstreamFailure if it cannot be run, prints too much, or takes too long.
 */
async function run(
  program: string,
  input: string,
  withinMs: number,
): Promise<{ readonly code: number; readonly output: string }> {
  const ended = deferred<number>();
  // A process group of its own, so that children of a script end with it.
  const child: Child = spawn(program, ['get'], {
    stdio: ['pipe', 'pipe', 'ignore'],
    env: helperEnv(),
    detached: true,
  });
  const giveUp = (reason: string): void => {
    ended.reject(unavailable('credentials', `${program} ${reason}`));
    killGroup(child);
  };
  // First: an error without a listener would end this server.
  child.once('error', (error: NodeJS.ErrnoException) => {
    ended.reject(unavailable('credentials', `${program} cannot be run (${error.code ?? 'unknown'})`));
  });
  child.once('close', (code) => ended.resolve(code ?? -1));
  const timer = runningTime.timer(withinMs, () => giveUp(`did not answer within ${withinMs / 1000} s`));
  const chunks: Buffer[] = [];
  let bytes = 0;
  child.stdout?.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > MAX_ANSWER_BYTES) giveUp(`printed more than ${MAX_ANSWER_BYTES / 1024} KiB`);
    else chunks.push(chunk);
  });
  // A helper that ends without reading its input causes an error here. Its exit code says more.
  child.stdin?.on('error', () => undefined);
  child.stdout?.on('error', () => undefined);
  child.stdin?.end(input);
  try {
    return { code: await ended.promise, output: Buffer.concat(chunks).toString('utf8') };
  } finally {
    timer.stop();
  }
}

/** Without Pierhead's own settings, which hold secrets. */
function helperEnv(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('PIERHEAD_')));
}

function killGroup({ pid }: Child): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch {
    // The helper has ended by itself.
  }
}
