import type { BreakerState } from '../../events/events.ts';
import { runningTime } from '../../lib/clock.ts';
import { deferred, type Deferred } from '../../lib/promises.ts';
import { UpstreamFailure, type Failure } from '../upstream.ts';
import { AbuseLimit, Prober } from './prober.ts';

/** Says that the one who was asked is down. */
export type Down = Extract<Failure, { readonly kind: 'unavailable' }>;

export interface BreakerOptions {
  /** Who is asked, for people. */
  readonly who: string;
  /** One cheap question; undefined: it was answered as by one who is alive. Never rejects. */
  readonly probe: () => Promise<Down | undefined>;
  readonly onChange: (state: BreakerState, reason: string | undefined) => void;
  /** Ms since the epoch. */
  readonly now: () => number;
}

/** A request that goes through a breaker. */
export interface Attempt<T> {
  /** `answersOthers` tells whether the server has answered anything since this was sent: then it is not away. */
  readonly send: (answersOthers: () => boolean) => Promise<T>;
  /** Whether what came back means that its sender is down. */
  readonly judge?: (value: T) => Down | undefined;
  /** What was asked for: one resource that fails again and again is no outage of all. */
  readonly resource: string;
  /** Asked as it is sent; false: so much of the time was used up elsewhere that being late says nothing. */
  readonly hasTime: () => boolean;
}

/** A request that decides for those that wait behind it, until it has. */
interface Trial extends Deferred<void> {
  /** It takes so long that nobody waits for it any more. */
  isLate: boolean;
}

/** So many failed requests in a row are an outage, or fewer if a probe fails as well. */
const MAX_FAILURES = 3;
const MAX_CONFIRMED_FAILURES = 2;
/** After so many probes in a row that were answered by errors a request is tried all the same: the ping may be broken. */
const MAX_ERROR_PROBES = 4;
/** A request without an answer for so long raises the suspicion that makes a probe go out beside it. */
const SUSPICION_MS = 2000;

/**
 * Knows whether a server is down, so that nobody waits for it then. A failure makes it ask by itself; failures in a
 * row, or one that a probe confirms, open it. Open, it refuses at once and goes on probing, so that it closes without
 * traffic: by a probe that succeeds after others failed. If probes never failed but requests did, one request is let
 * through to decide (half-open), and others wait for what comes of it: the outage may have ended long ago, and who comes
 * together must not be refused for it. Any answer of a server that is alive closes it. Long before so much is sure, a
 * server that has left somebody waiting is silent until it answers anything.
 */
export class Breaker {
  readonly #options: BreakerOptions;
  readonly #abuse: AbuseLimit;
  readonly #prober: Prober;
  #state: BreakerState = 'closed';
  #since = 0;
  #down: Down | undefined;
  #failures = 0;
  #lastFailed: string | undefined;
  #hasProbeFailed = false;
  #errorProbes = 0;
  /** While it is half-open. */
  #trial: Trial | undefined;
  #isSilent = false;
  /** By `performance.now()`. */
  #answeredAt = -Infinity;

  constructor(options: BreakerOptions) {
    this.#options = options;
    this.#abuse = new AbuseLimit(options.now);
    this.#prober = new Prober(() => this.#probe());
  }

  get state(): BreakerState {
    return this.#state;
  }

  /** Who has something to serve in place of an answer need not wait for one: none comes, or the last trials hung. */
  get isSilent(): boolean {
    return this.#isSilent || (this.#state === 'half-open' && this.#down?.cause === 'timeout');
  }

  /** What to answer instead of asking; undefined: ask. */
  refusal(): Failure | undefined {
    const retryAfterMs = this.#abuse.remainingMs();
    if (retryAfterMs !== undefined) return { kind: 'limited', scope: 'abuse', retryAfterMs, spared: true };
    const isShut = this.#state === 'open' || this.#trial?.isLate === true;
    if (!isShut || this.#down === undefined) return undefined;
    return { ...this.#down, reason: this.#openReason(this.#down), spared: true };
  }

  /** Why it is of no use to ask, as half a sentence; undefined: nothing is known that speaks against it. */
  outage(): string | undefined {
    if (this.#abuse.remainingMs() !== undefined) {
      return `${this.#options.who} limits our requests until ${timeText(this.#abuse.until)}`;
    }
    return this.#state === 'open' && this.#down !== undefined ? this.#openReason(this.#down) : undefined;
  }

  /**
   * Sends, and learns from what comes of it. Throws UpstreamFailure while it refuses: at once, or after 2 s at most if
   * that is being decided.
   */
  async run<T>(attempt: Attempt<T>): Promise<T> {
    while (this.#trial?.isLate === false) await this.#trial.promise;
    const refusal = this.refusal();
    if (refusal !== undefined) throw new UpstreamFailure(refusal);
    const trial = this.#state === 'half-open' ? this.#beginTrial() : undefined;
    const hadTime = attempt.hasTime();
    const startedAt = performance.now();
    const suspicion = runningTime.timer(SUSPICION_MS, () => {
      this.waitedInVain(startedAt);
      if (trial !== undefined) trial.isLate = true;
      trial?.resolve();
    });
    try {
      const value = await attempt.send(() => this.#state === 'closed' && this.#answeredAt > startedAt);
      const down = attempt.judge?.(value);
      if (down === undefined) this.#succeeded();
      else this.#failed(down, attempt.resource);
      return value;
    } catch (error) {
      this.#learn(error, { resource: attempt.resource, hadTime });
      throw error;
    } finally {
      suspicion.stop();
      if (trial !== undefined && this.#trial === trial) this.#endTrial();
    }
  }

  /** The server has said 429 to a request that it would answer at another time. */
  limit(retryAfterMs: number | undefined): void {
    this.#abuse.hit(retryAfterMs);
  }

  /** An answer was waited for since then, by `performance.now()`. A probe goes out, which is the quickest to tell. */
  waitedInVain(since: number): void {
    if (this.#answeredAt <= since) this.#isSilent = true;
    this.#prober.start();
  }

  /** Stops probing. */
  close(): void {
    this.#prober.close();
  }

  #beginTrial(): Trial {
    this.#trial = { ...deferred<void>(), isLate: false };
    return this.#trial;
  }

  #endTrial(): void {
    this.#trial?.resolve();
    this.#trial = undefined;
  }

  #learn(error: unknown, attempt: { readonly resource: string; readonly hadTime: boolean }): void {
    if (!(error instanceof UpstreamFailure)) return;
    const { failure } = error;
    if (failure.kind === 'limited') {
      this.limit(failure.retryAfterMs);
      this.#succeeded();
      return;
    }
    // Who says that a password is wrong is alive.
    if (failure.kind !== 'unavailable' || failure.cause === 'credentials') {
      this.#succeeded();
      return;
    }
    if (failure.cause === 'offline') return;
    if (failure.cause === 'timeout' && !attempt.hadTime) return;
    this.#failed(failure, attempt.resource);
  }

  #answered(): void {
    this.#isSilent = false;
    this.#answeredAt = performance.now();
  }

  #succeeded(): void {
    this.#answered();
    this.#failures = 0;
    this.#lastFailed = undefined;
    this.#prober.reset();
    if (this.#state !== 'closed') this.#become('closed');
  }

  #failed(down: Down, resource: string): void {
    this.#down = down;
    if (!isNetwork(down)) this.#answered();
    if (this.#state === 'open') return;
    const isAgain = down.cause !== 'unreachable' && resource === this.#lastFailed;
    this.#lastFailed = resource;
    if (!isAgain) this.#failures++;
    if (this.#state === 'half-open' || this.#failures >= MAX_FAILURES) this.#become('open');
    else this.#prober.start();
  }

  /** Resolves to whether to probe again. */
  async #probe(): Promise<boolean> {
    const down = await this.#options.probe();
    if (down === undefined) {
      this.#probeSucceeded();
      return false;
    }
    this.#down = down;
    this.#hasProbeFailed = true;
    this.#errorProbes = isNetwork(down) ? 0 : this.#errorProbes + 1;
    if (this.#state === 'closed' && ++this.#failures >= MAX_CONFIRMED_FAILURES) this.#become('open');
    else if (this.#state === 'open' && this.#errorProbes >= MAX_ERROR_PROBES) this.#become('half-open');
    return true;
  }

  #probeSucceeded(): void {
    this.#answered();
    this.#errorProbes = 0;
    if (this.#state !== 'closed') {
      this.#become(this.#hasProbeFailed ? 'closed' : 'half-open');
      return;
    }
    this.#hasProbeFailed = false;
    // Where only some answers are errors, or do not come, an answer to the probe takes nothing back.
    if (this.#down?.cause === 'unreachable') this.#failures = 0;
  }

  #become(state: BreakerState): void {
    if (state === this.#state) return;
    if (state === 'open') {
      if (this.#state === 'closed') this.#since = this.#options.now();
      this.#errorProbes = 0;
      this.#prober.start();
    }
    if (state === 'closed') {
      this.#failures = 0;
      this.#hasProbeFailed = false;
      this.#prober.reset();
    }
    this.#state = state;
    this.#endTrial();
    this.#options.onChange(state, state === 'open' ? this.#down?.reason : undefined);
  }

  #openReason(down: Down): string {
    return `${this.#options.who} has been out of reach since ${timeText(this.#since)}: ${down.reason}`;
  }
}

function isNetwork(down: Down): boolean {
  return down.cause === 'unreachable' || down.cause === 'timeout';
}

/** To the second, in UTC. */
function timeText(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}
