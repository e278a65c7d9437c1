import { spawn, type ChildProcess } from 'node:child_process';
import { runningTime } from '../../lib/clock.ts';
import { parseJson } from '../../lib/json.ts';
import { deferred } from '../../lib/promises.ts';
import { unavailable } from '../upstream.ts';
import { storedLogin, type LoginSource, type StoredLogin } from './logins.ts';

/** Some helpers ask a cloud. */
const ANSWER_WITHIN_MS = 10_000;
const MAX_ANSWER_BYTES = 64 * 1024;
/** Much less than the 12 h of ECR or the hour of GAR: the helper has a cache of its own, and knows better. */
const KEPT_MS = 5 * 60_000;
/** A login that is refused right after it was got will not get better by asking at once. */
const MIN_RENEWAL_MS = 1000;

export interface CredentialHelperOptions {
  /** What follows `docker-credential-`. */
  readonly helper: string;
  /** As Docker calls the registry there. */
  readonly server: string;
  /** Ms since the epoch. */
  readonly now: () => number;
  /** Default 10 s. */
  readonly answerWithinMs?: number;
}

/**
 * Asks the program `docker-credential-<helper>` (docker/docker-credential-helpers, `get`): the server's URL on its
 * standard input, JSON on its standard output. Nothing of what it prints goes into a message.
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
    // A failure is not kept: the next request asks anew.
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
      throw unavailable('credentials', `${this.name} does not answer with a user name and a secret`);
    }
    return login;
  }
}

/** What a helper says, or undefined if that is no login. */
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

/** Where no more files can be opened, `spawn` gives a process without pipes, and the error follows. */
type Child = Pick<ChildProcess, 'pid' | 'once' | 'stdin' | 'stdout'>;

/** Runs `program get` without a shell. Throws UpstreamFailure if it cannot be run, or says too much or too late. */
async function run(
  program: string,
  input: string,
  withinMs: number,
): Promise<{ readonly code: number; readonly output: string }> {
  const ended = deferred<number>();
  // A group of its own, so that what a script has started ends with it.
  const child: Child = spawn(program, ['get'], {
    stdio: ['pipe', 'pipe', 'ignore'],
    env: helperEnv(),
    detached: true,
  });
  const giveUp = (reason: string): void => {
    ended.reject(unavailable('credentials', `${program} ${reason}`));
    killGroup(child);
  };
  // First of all: an error that nobody hears would end this server.
  child.once('error', (error: NodeJS.ErrnoException) => {
    ended.reject(unavailable('credentials', `${program} cannot be run (${error.code ?? 'unknown'})`));
  });
  child.once('close', (code) => ended.resolve(code ?? -1));
  const timer = runningTime.timer(withinMs, () => giveUp(`did not answer within ${withinMs / 1000} s`));
  const chunks: Buffer[] = [];
  let bytes = 0;
  child.stdout?.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > MAX_ANSWER_BYTES) giveUp('says more than is allowed');
    else chunks.push(chunk);
  });
  // A helper that ends without reading makes this an error, and its exit code tells more.
  child.stdin?.on('error', () => undefined);
  child.stdout?.on('error', () => undefined);
  child.stdin?.end(input);
  try {
    return { code: await ended.promise, output: Buffer.concat(chunks).toString('utf8') };
  } finally {
    timer.stop();
  }
}

/** Ours, without our own secrets, which are none of its business. */
function helperEnv(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('PIERHEAD_')));
}

function killGroup({ pid }: Child): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}
