import { LRUCache } from 'lru-cache';
import type { PullLimitState } from '../../oci/pull-limit.ts';
import { headerText } from '../connect/headers.ts';
import type { AnswerHeaders, Failure, Allowance } from '../upstream.ts';
import { BypassDetector, Forecast } from './forecast.ts';

/** The pull limit in a response; every part may be missing. */
export interface PullLimitReading {
  /** Pulls in a window. */
  readonly limit?: number | undefined;
  readonly remaining?: number | undefined;
  readonly windowMs?: number | undefined;
  /** The owner of the limit as Docker Hub names it: an address, a /64 network, the id of an account. */
  readonly source?: string | undefined;
}

/** Above any source that Docker Hub sends. The value goes into logs and metrics. */
const SOURCE = /^[\w.:/-]{1,64}$/;

/**
 * Reads Docker Hub's rate headers, `ratelimit-limit: 100;w=21600` and the like. Numbers have been missing
 * (`;w=21600`, docker/hub-feedback#2081). Undefined: no such header, so no limit.
 */
export function pullLimitReading(headers: AnswerHeaders): PullLimitReading | undefined {
  const limit = parts(headers, 'ratelimit-limit');
  const remaining = parts(headers, 'ratelimit-remaining');
  if (limit === undefined && remaining === undefined) return undefined;
  const windowMs = limit?.windowMs ?? remaining?.windowMs;
  const source = headerText(headers, 'docker-ratelimit-source')?.trim();
  // Without keys for missing parts: the parts of an earlier reading stay then.
  return {
    ...(limit?.count === undefined ? {} : { limit: limit.count }),
    ...(remaining?.count === undefined ? {} : { remaining: remaining.count }),
    ...(windowMs === undefined ? {} : { windowMs }),
    ...(source !== undefined && SOURCE.test(source) ? { source } : {}),
  };
}

interface Parts {
  readonly count: number | undefined;
  readonly windowMs: number | undefined;
}

function parts(headers: AnswerHeaders, name: string): Parts | undefined {
  const text = headerText(headers, name);
  if (text === undefined) return undefined;
  const [, count, seconds] = /^\s*(\d{1,15})?\s*(?:;\s*w\s*=\s*(\d{1,9}))?/i.exec(text) ?? [];
  return {
    count: count === undefined ? undefined : Number(count),
    windowMs: seconds === undefined ? undefined : Number(seconds) * 1000,
  };
}

export interface PullLimitSettings {
  /** Below this share of the limit (0 to 1), only manifests that are not cached are pulled. */
  readonly lowShare: number;
  /** The same below this number of pulls. */
  readonly reserve: number;
}

export interface PullLimitOptions extends PullLimitSettings {
  /** The registry whose limit it is. */
  readonly host: string;
  readonly identity: string;
  /** Ms since the epoch. */
  readonly now: () => number;
  /** Called after each reading; `foreignPulls` bypassed Pierhead since the last one. */
  readonly onChange: (state: PullLimitState, foreignPulls: number) => void;
}

/** A manifest request in flight. Call `over` in the end in any case. */
export interface CountedRequest {
  /** The upstream has answered with this reading; undefined: without one, so this pull does not count. */
  answered(reading: PullLimitReading | undefined): void;
  over(): void;
}

/** Wait after a used-up limit without a stated window. */
const UNKNOWN_WINDOW_MS = 15 * 60_000;
/** Above any window of Docker Hub. A HEAD that finds pulls left ends the wait earlier. */
const MAX_REFUSAL_MS = 24 * 60 * 60_000;
const MAX_REPOSITORIES = 5000;
/** After a response this recent, another HEAD would show nothing new about the limit. */
const NEWS_MS = 2000;

interface KnownRepository {
  readonly counts: boolean;
  /** When the upstream showed this; ms since the epoch. */
  readonly at: number;
  /** Until then the upstream refuses pulls of the repository. This outweighs a response without a limit. */
  readonly refusedUntil: number;
}

/** The pull limit of one identity: the last reading, and whether a pull may be spent. */
export class PullLimit {
  readonly #options: PullLimitOptions;
  readonly #detector = new BypassDetector();
  readonly #forecast = new Forecast();
  /** Whether pulls of a repository count: those of some publishers do not. */
  readonly #repositories = new LRUCache<string, KnownRepository>({ max: MAX_REPOSITORIES });
  #reading: PullLimitReading = {};
  #readAt = 0;
  #readOrder = 0;
  #spentUntil = 0;
  #order = 0;

  constructor(options: PullLimitOptions) {
    this.#options = options;
  }

  get state(): PullLimitState {
    const { limit, remaining, windowMs, source } = this.#reading;
    const emptyAt = windowMs === undefined ? undefined : this.#forecast.emptyAt(windowMs);
    return {
      identity: this.#options.identity,
      source,
      limit,
      remaining,
      windowMs,
      readAt: this.#readAt,
      isLow: this.#isLow(),
      spentUntil: this.#isSpent() ? this.#spentUntil : undefined,
      emptyAt,
    };
  }

  /** Call when a manifest request is sent. A GET is a pull. */
  began(method: 'GET' | 'HEAD', repository: string): CountedRequest {
    this.#order++;
    const order = this.#order;
    let isRunning = method === 'GET';
    if (isRunning) this.#detector.began();
    const over = (): void => {
      if (isRunning) this.#detector.ended();
      isRunning = false;
    };
    return {
      over,
      answered: (reading) => {
        over();
        this.#read(reading, { repository, order });
      },
    };
  }

  /** The upstream has refused a pull, perhaps with a `Retry-After`. */
  refused(repository: string, retryAfterMs: number | undefined): void {
    const now = this.#options.now();
    const waitMs = retryAfterMs ?? this.#reading.windowMs ?? UNKNOWN_WINDOW_MS;
    this.#spentUntil = now + Math.min(waitMs, MAX_REFUSAL_MS);
    this.#repositories.set(repository, { counts: true, at: now, refusedUntil: this.#spentUntil });
    this.#options.onChange(this.state, 0);
  }

  /**
   * Takes a reading of another server under the same identity; true if it was newer. Anonymous limits count by
   * address, and the other server's address may differ.
   */
  adopt(state: Omit<PullLimitState, 'identity' | 'isLow' | 'emptyAt'>): boolean {
    const { readAt, limit, remaining, windowMs, source, spentUntil = 0 } = state;
    if (readAt < this.#readAt || !this.#isOurs(source)) return false;
    this.#take({ limit, remaining, windowMs, source }, readAt);
    if (remaining !== undefined) this.#detector.adopt(remaining);
    // Pulls may be refused although the count says that some are left.
    this.#spentUntil = Math.max(this.#spentUntil, spentUntil);
    return true;
  }

  /** Another server has sent `pulls` under the limit of `source`. */
  spentElsewhere(pulls: number, source: string | undefined): void {
    if (this.#isOurs(source)) this.#detector.spentElsewhere(pulls);
  }

  /** The failure to return instead of a pull from `repository`; undefined: pull. */
  refusal(repository: string): Failure | undefined {
    if (!this.#isSpent() || this.#repositories.peek(repository)?.counts === false) return undefined;
    const retryAfterMs = this.#spentUntil - this.#options.now();
    return { kind: 'limited', scope: 'pulls', retryAfterMs, spared: true };
  }

  /** True if a response about `repository` is so recent that a HEAD would show nothing new. */
  hasNewsOf(repository: string): boolean {
    const known = this.#repositories.peek(repository);
    return known !== undefined && this.#options.now() - known.at < NEWS_MS;
  }

  /**
   * Why only manifests that are not cached may be pulled from `repository`; undefined: enough pulls are left, or the
   * repository does not count.
   */
  shortage(repository: string): string | undefined {
    if (this.#repositories.peek(repository)?.counts === false) return undefined;
    if (this.#isSpent()) return `the pull limit of ${this.#options.host} is used up`;
    if (!this.#isLow()) return undefined;
    const { limit, remaining } = this.#reading;
    const left = limit === undefined ? `${remaining} pulls` : `${remaining} of ${limit} pulls`;
    return `only ${left} are left, which are kept for images that are not cached`;
  }

  /** The pulls left; undefined: not stated, or pulls of the repository do not count. */
  allowance(repository: string): Allowance | undefined {
    const { limit, remaining } = this.#reading;
    if (limit === undefined || remaining === undefined) return undefined;
    if (this.#repositories.peek(repository)?.counts === false) return undefined;
    return { identity: this.#options.identity, limit, remaining: this.#isSpent() ? 0 : remaining };
  }

  #read(
    reading: PullLimitReading | undefined,
    request: { readonly repository: string; readonly order: number },
  ): void {
    const at = this.#options.now();
    const { repository, order } = request;
    const refusedUntil = this.#repositories.peek(repository)?.refusedUntil ?? 0;
    // An upstream that never stated a limit says nothing by not stating one.
    const counts = reading !== undefined || refusedUntil > at || this.#readAt === 0;
    this.#repositories.set(repository, { counts, at, refusedUntil });
    // Responses overtake each other: only those to later requests are newer.
    if (reading === undefined || order < this.#readOrder) return;
    this.#readOrder = order;
    const isSame = this.#isOurs(reading.source);
    this.#take({ ...(isSame ? this.#reading : {}), ...reading }, at);
    const { remaining } = reading;
    if (remaining !== undefined && !isSame) this.#detector.adopt(remaining);
    const foreign = remaining !== undefined && isSame ? this.#detector.read(remaining) : 0;
    this.#options.onChange(this.state, foreign);
  }

  #take(reading: PullLimitReading, at: number): void {
    this.#reading = reading;
    this.#readAt = at;
    const { remaining, windowMs = UNKNOWN_WINDOW_MS } = reading;
    if (remaining === undefined) return;
    this.#forecast.add(at, remaining);
    if (remaining > 0) this.#spentUntil = 0;
    else if (!this.#isSpent()) this.#spentUntil = at + windowMs;
  }

  #isOurs(source: string | undefined): boolean {
    return source === undefined || this.#reading.source === undefined || source === this.#reading.source;
  }

  #isSpent(): boolean {
    return this.#spentUntil > this.#options.now();
  }

  #isLow(): boolean {
    const { limit = 0, remaining } = this.#reading;
    const { lowShare, reserve } = this.#options;
    return remaining !== undefined && remaining <= Math.max(limit * lowShare, reserve);
  }
}
