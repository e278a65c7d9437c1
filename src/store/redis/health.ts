const FIRST_PAUSE_MS = 250;
const MAX_PAUSE_MS = 5000;
/** Weight of the last call in the mean: several slow calls open the guard, a single one does not. */
const WEIGHT = 0.3;

export interface GuardOptions {
  /** Pings Redis; true if it answered in time. */
  readonly probe: () => Promise<boolean>;
  /** Above this mean duration of calls, Redis is not used. */
  readonly slowMs: number;
}

/**
 * Stops using a Redis that hangs or is slow. After a failure, calls return at once. Redis is probed in the background,
 * with pauses that double, and used again when it answers in time. So an outage delays only the calls that were running
 * at its beginning, by one time limit.
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

  /** Records a call that was answered after `ms`. False: Redis is too slow and is not used from now on. */
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

  /** For a new connection: forgets the failures and durations of the last one. */
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

/** Why a call to Redis failed, in one word for metrics. */
export type RedisFailure =
  | 'timeout' // no answer in time
  | 'slow' // answers, but too late on average
  | 'connection' // not connected, or the connection broke
  | 'credentials' // wrong, or not allowed to run the command
  | 'full' // out of memory
  | 'read-only' // a replica
  | 'loading' // reads its data after a start, or the cluster lacks slots
  | 'wrong-type' // another program's data under our keys
  | 'malformed' // the same, of the right type
  | 'unsigned' // a claim without a valid HMAC of our fleetSecret, or an expired one
  | 'tampered' // bytes that do not match the digest in their key
  | 'refused'; // any other error answer of Redis

/** By the first word of Redis' error answer (redis.io, "RESP protocol", simple errors). */
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

/** The kind of failure, without its text, which can contain keys and addresses. */
export function failureOf(error: unknown): RedisFailure {
  if (!(error instanceof Error)) return 'refused';
  if (error.message.includes('timed out')) return 'timeout';
  if (error.name !== 'ReplyError') return 'connection';
  return ANSWERS[/^-?([A-Z]+)/.exec(error.message)?.[1] ?? ''] ?? 'refused';
}

/** Whether Redis did not answer. An error answer shows that it is alive. */
export function isSilence(failure: RedisFailure): boolean {
  return failure === 'timeout' || failure === 'connection';
}
