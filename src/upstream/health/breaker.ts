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
  /** One cheap question; undefined: the answer shows that the server works. Never rejects. */
  readonly probe: () => Promise<Down | undefined>;
  readonly onChange: (state: BreakerState, reason: string | undefined) => void;
  /** Ms since the epoch. */
  readonly now: () => number;
}

/** A request that goes through a breaker. */
export interface Attempt<T> {
  /** `answersOthers` tells whether the server has answered anything since this was sent: then it is reachable. */
  readonly send: (answersOthers: () => boolean) => Promise<T>;
  /** Whether what came back means that its sender is down. */
  readonly judge?: (value: T) => Down | undefined;
  /** What was asked for. */
  readonly resource: string;
  /** Asked as it is sent; false: so much of the time was used up elsewhere that being late says nothing. */
  readonly hasTime: () => boolean;
}

/** A request without an answer for so long makes the server slow, and a probe goes out beside it. */
const OVERDUE_MS = 2000;

/** Stands before a server: holds the state, sends requests and probes, and reports to `next` what comes of them. */
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

  /** A request would probably wait for nothing, or hang as the last trials did. Serve what is cached instead. */
  get isSlow(): boolean {
    const state = this.#state;
    return state.isSlow || (state.kind === 'half-open' && state.down.cause === 'timeout');
  }

  /** What to answer instead of asking; undefined: ask. */
  refusal(): Failure | undefined {
    const retryAfterMs = this.#abuse.remainingMs();
    if (retryAfterMs !== undefined) return { kind: 'limited', scope: 'abuse', retryAfterMs, spared: true };
    const state = this.#state;
    const isShut = state.kind === 'open' || (state.kind === 'half-open' && state.trial?.isLate === true);
    return isShut ? { ...state.down, reason: this.#openReason(state), spared: true } : undefined;
  }

  /** Why it is of no use to ask, as half a sentence; undefined: nothing is known that speaks against it. */
  outage(): string | undefined {
    if (this.#abuse.remainingMs() !== undefined) {
      return `${this.#options.who} limits our requests until ${timeText(this.#abuse.until)}`;
    }
    return this.#state.kind === 'open' ? this.#openReason(this.#state) : undefined;
  }

  /** Sends. Throws UpstreamFailure while it refuses: at once, or after 2 s at most if a trial decides that. */
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

  /** The server has said 429 to a request that it would answer at another time. */
  limit(retryAfterMs: number | undefined): void {
    this.#abuse.hit(retryAfterMs);
  }

  /** A caller has waited since then (`performance.now()`) for too long. A probe goes out, the quickest way to tell. */
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
    // A server that says that a password is wrong works.
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
    return `${this.#options.who} has been out of reach since ${timeText(since)}: ${down.reason}`;
  }
}

/** To the second, in UTC. */
function timeText(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}
