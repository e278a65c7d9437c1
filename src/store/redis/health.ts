const FIRST_PAUSE_MS = 250;
const MAX_PAUSE_MS = 5000;
/** The share of a call in the mean: high enough that a few slow ones show, low enough that a single one does not. */
const WEIGHT = 0.3;

export interface GuardOptions {
  /** Asks Redis for a sign of life; true if it came in time. */
  readonly probe: () => Promise<boolean>;
  /** Calls that take longer than this on the average are not worth waiting for. */
  readonly slowMs: number;
}

/**
 * Keeps a Redis that hangs or is slow from being waited for. After a failure nobody waits at all: it is probed in
 * the background, with pauses that double, and used again when it answers in time. So an outage costs those who
 * were waiting at its beginning one time limit, and nobody else anything.
 */
export class RedisGuard {
  readonly #options: GuardOptions;
  #pauseMs = 0;
  #meanMs = 0;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(options: GuardOptions) {
    this.#options = options;
  }

  get isOpen(): boolean {
    return this.#timer !== undefined;
  }

  /** A call was answered after so long. False: it has become too slow, and is left alone from now on. */
  answered(ms: number): boolean {
    this.#meanMs = this.#meanMs * (1 - WEIGHT) + ms * WEIGHT;
    if (this.#meanMs <= this.#options.slowMs) return true;
    this.failed();
    return false;
  }

  failed(): void {
    if (this.isOpen || this.#isClosed) return;
    this.#pauseMs = FIRST_PAUSE_MS;
    this.#wait();
  }

  /** There is a new connection: what was known of the last one does not count. */
  reset(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#meanMs = 0;
  }

  close(): void {
    this.#isClosed = true;
    this.reset();
  }

  #wait(): void {
    const timer = setTimeout(() => void this.#probe(timer), this.#pauseMs * (0.75 + Math.random() / 2));
    timer.unref();
    this.#timer = timer;
  }

  async #probe(timer: NodeJS.Timeout): Promise<void> {
    const isAlive = await this.#options.probe();
    if (this.#timer !== timer) return;
    if (isAlive) {
      this.reset();
      return;
    }
    this.#pauseMs = Math.min(this.#pauseMs * 2, MAX_PAUSE_MS);
    this.#wait();
  }
}

/** Why a call to Redis came to nothing, in one word for metrics. */
export type RedisFailure =
  | 'timeout' // no answer in time
  | 'slow' // answers, but so late that it is better left alone
  | 'connection' // none, or it broke
  | 'credentials' // wrong, or without the right to do this
  | 'full' // out of memory
  | 'read-only' // a replica
  | 'loading' // still reading its data, or a cluster that is not whole
  | 'wrong-type' // another program's data under our keys
  | 'malformed' // the same, of the right type
  | 'unsigned' // says who may see what, and not by an HMAC of our fleetSecret, or no longer
  | 'tampered' // bytes that do not hash to the digest that they are kept under
  | 'refused'; // any other error that Redis answers

/** By the first word of what Redis answers (redis.io, "RESP protocol", simple errors). */
const ANSWERS: Readonly<Record<string, RedisFailure>> = {
  NOAUTH: 'credentials',
  WRONGPASS: 'credentials',
  NOPERM: 'credentials',
  OOM: 'full',
  MISCONF: 'full',
  READONLY: 'read-only',
  LOADING: 'loading',
  CLUSTERDOWN: 'loading',
  MASTERDOWN: 'loading',
  WRONGTYPE: 'wrong-type',
};

/** What kind of failure it was, without its text, which can hold keys and addresses. */
export function failureOf(error: unknown): RedisFailure {
  if (!(error instanceof Error)) return 'refused';
  if (error.message.includes('timed out')) return 'timeout';
  if (error.name !== 'ReplyError') return 'connection';
  return ANSWERS[/^-?([A-Z]+)/.exec(error.message)?.[1] ?? ''] ?? 'refused';
}

/** Whether Redis did not answer at all; an answer, even a refusal, shows that it is alive. */
export function isSilence(failure: RedisFailure): boolean {
  return failure === 'timeout' || failure === 'connection';
}
