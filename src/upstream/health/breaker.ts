import type { BreakerState } from '../../events/events.ts';
import { runningTime } from '../../lib/clock.ts';
import { deferred } from '../../lib/promises.ts';
import { UpstreamFailure, type Failure } from '../upstream.ts';
import {
  isDeciding,
  NEW,
  next,
  type Down,
  type Event,
  type HalfOpen,
  type Open,
  type State,
} from './breaker-rules.ts';
import { AbuseLimit, Prober } from './prober.ts';

export interface BreakerOptions {
  /** The name of the server, for people. */
  readonly who: string;
  /** Sends one cheap request; undefined: the response shows that the server works. Never rejects. */
  readonly probe: () => Promise<Down | undefined>;
  readonly onChange: (state: BreakerState, reason: string | undefined) => void;
  /** Ms since the epoch. */
  readonly now: () => number;
}

/** A request that goes through a breaker. */
export interface Attempt<T> {
  /** `answersOthers` returns true if the server has answered any request since this one was sent. */
  readonly send: (answersOthers: () => boolean) => Promise<T>;
  /** The outage that a response means, if any. */
  readonly judge?: (value: T) => Down | undefined;
  /** The resource that is requested. */
  readonly resource: string;
  /** Called before sending; false: so much of the time limit is used up that a timeout proves nothing. */
  readonly hasTime: () => boolean;
}

/** A request without a response for this time makes the server slow and starts a probe. */
const OVERDUE_MS = 2000;

/** Guards one server: holds the state, sends requests and probes, and reports their results to `next`. */
export class Breaker {
  readonly #options: BreakerOptions;
  readonly #abuse: AbuseLimit;
  readonly #prober: Prober;
  #state: State = NEW;
  #requests = 0;
  /** Resolves when the trial is over or late. */
  #decided = deferred<void>();

  constructor(options: BreakerOptions) {
    this.#options = options;
    this.#abuse = new AbuseLimit(options.now);
    this.#prober = new Prober(() => this.#probe());
  }

  get state(): BreakerState {
    return this.#state.kind;
  }

  /** True if a request would probably wait in vain. Callers with a cached copy should serve it. */
  get isSlow(): boolean {
    const state = this.#state;
    return state.isSlow || (state.kind === 'half-open' && state.down.cause === 'timeout');
  }

  /** The failure to return instead of a request; undefined: send it. */
  refusal(): Failure | undefined {
    const retryAfterMs = this.#abuse.remainingMs();
    if (retryAfterMs !== undefined) return { kind: 'limited', scope: 'abuse', retryAfterMs, spared: true };
    const state = this.#state;
    const isShut = state.kind === 'open' || (state.kind === 'half-open' && state.trial?.isLate === true);
    return isShut ? { ...state.down, reason: this.#openReason(state), spared: true } : undefined;
  }

  /** Why a request would be in vain, as half a sentence; undefined: no known reason. */
  outage(): string | undefined {
    if (this.#abuse.remainingMs() !== undefined) {
      return `${this.#options.who} limits requests of this server until ${timeText(this.#abuse.until)}`;
    }
    return this.#state.kind === 'open' ? this.#openReason(this.#state) : undefined;
  }

  /**
   * Sends a request. While the breaker refuses, throws UpstreamFailure: at once, or after at most 2 s if a trial
   * decides.
   */
  async run<T>(attempt: Attempt<T>): Promise<T> {
    while (isDeciding(this.#state)) await this.#decided.promise;
    const refusal = this.refusal();
    if (refusal !== undefined) throw new UpstreamFailure(refusal);
    const request = ++this.#requests;
    this.#apply({ type: 'sent', request });
    const hadTime = attempt.hasTime();
    const since = performance.now();
    const overdue = runningTime.timer(OVERDUE_MS, () => this.#apply({ type: 'overdue', since, request }));
    try {
      const value = await attempt.send(() => this.state === 'closed' && this.#state.answeredAt > since);
      const down = attempt.judge?.(value);
      if (down === undefined) this.#answered();
      else this.#failed(down, attempt.resource);
      return value;
    } catch (error) {
      if (error instanceof UpstreamFailure) this.#learn(error.failure, attempt.resource, hadTime);
      throw error;
    } finally {
      overdue.stop();
      this.#apply({ type: 'over', request });
    }
  }

  /** The server has answered 429, whatever was asked for. */
  limit(retryAfterMs: number | undefined): void {
    this.#abuse.hit(retryAfterMs);
  }

  /**
   * A caller has waited since `since` (`performance.now()`), which is too long. Starts a probe, the quickest way to
   * find out.
   */
  reportSlow(since: number): void {
    this.#apply({ type: 'overdue', since });
  }

  /** Stops probing. */
  close(): void {
    this.#prober.close();
  }

  #apply(event: Event): void {
    const before = this.#state;
    const after = next(before, event);
    this.#state = after;
    this.#prober.follow(after);
    if (isDeciding(before) && !isDeciding(after)) {
      this.#decided.resolve();
      this.#decided = deferred();
    }
    if (after.kind === before.kind) return;
    this.#options.onChange(after.kind, after.kind === 'open' ? after.down.reason : undefined);
  }

  #answered(): void {
    this.#apply({ type: 'answered', at: performance.now() });
  }

  #failed(down: Down, resource: string): void {
    this.#apply({ type: 'failed', at: performance.now(), date: this.#options.now(), down, resource });
  }

  #learn(failure: Failure, resource: string, hadTime: boolean): void {
    if (failure.kind === 'limited') this.limit(failure.retryAfterMs);
    // A server that rejects a password works.
    if (failure.kind !== 'unavailable' || failure.cause === 'credentials') this.#answered();
    else if (failure.cause === 'timeout' ? hadTime : failure.cause !== 'offline')
      this.#failed(failure, resource);
  }

  async #probe(): Promise<void> {
    this.#apply({ type: 'probe-sent' });
    const down = await this.#options.probe();
    if (down === undefined) this.#apply({ type: 'probe-answered', at: performance.now() });
    else this.#apply({ type: 'probe-failed', date: this.#options.now(), down });
  }

  #openReason({ down, since }: Open | HalfOpen): string {
    return `${this.#options.who} has been unreachable since ${timeText(since)}: ${down.reason}`;
  }
}

/** In UTC, to the second. */
function timeText(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}
