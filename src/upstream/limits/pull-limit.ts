import { LRUCache } from 'lru-cache';
import type { PullLimitState } from '../../oci/pull-limit.ts';
import { headerText } from '../connect/headers.ts';
import type { AnswerHeaders, Failure, Allowance } from '../upstream.ts';
import { BypassDetector, Forecast } from './forecast.ts';

/** What an answer tells of the pull limit; every part may be missing. */
export interface PullLimitReading {
  /** Pulls in a window. */
  readonly limit?: number;
  readonly remaining?: number;
  readonly windowMs?: number;
  /** Whose limit it is, as Docker Hub sees it: an address, a /64 network, the id of an account. */
  readonly source?: string;
}

/** Longer than any that Docker Hub could send; it goes into logs and metrics. */
const SOURCE = /^[\w.:/-]{1,64}$/;

/**
 * The rate headers of Docker Hub, `ratelimit-limit: 100;w=21600` and the like. Numbers have been missing
 * (`;w=21600`, docker/hub-feedback issue 2081). Undefined: not a word of a limit, so there is none.
 */
export function pullLimitReading(headers: AnswerHeaders): PullLimitReading | undefined {
  const limit = parts(headers, 'ratelimit-limit');
  const remaining = parts(headers, 'ratelimit-remaining');
  if (limit === undefined && remaining === undefined) return undefined;
  const windowMs = limit?.windowMs ?? remaining?.windowMs;
  const source = headerText(headers, 'docker-ratelimit-source')?.trim();
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
  /** Below this share of the limit (0 to 1) only real misses are fetched. */
  readonly lowShare: number;
  /** The same for the last so many pulls, whatever share they are. */
  readonly reserve: number;
}

export interface PullLimitOptions extends PullLimitSettings {
  /** The registry whose limit it is. */
  readonly host: string;
  readonly identity: string;
  /** Ms since the epoch. */
  readonly now: () => number;
  /** After everything that was learnt; `foreignPulls` somebody else has made since the last time. */
  readonly onChange: (state: PullLimitState, foreignPulls: number) => void;
}

/** A request for a manifest on its way; `over` is to be called in the end, whatever came of it. */
export interface CountedRequest {
  /** Upstream has answered, and says this of its limit; undefined: it says nothing, so this pull does not count. */
  answered(reading: PullLimitReading | undefined): void;
  over(): void;
}

/** When upstream tells no window for a limit that is used up, a pull is tried again after this time. */
const UNKNOWN_WINDOW_MS = 15 * 60_000;
/** Longer than any window of Docker Hub; a HEAD that finds pulls left ends it at any time. */
const MAX_REFUSAL_MS = 24 * 60 * 60_000;
const MAX_REPOSITORIES = 5000;
/** A HEAD that was answered so short a time ago need not be sent again to see whether a limit still holds. */
const NEWS_MS = 2000;

interface KnownRepository {
  readonly counts: boolean;
  /** When that was told; ms since the epoch. */
  readonly at: number;
  /** Until when upstream has refused a pull of it, which is a stronger word than silence about a limit. */
  readonly refusedUntil: number;
}

/** The pulls that Docker Hub allows one identity: what it told last, and what may be spent of it. */
export class PullLimit {
  readonly #options: PullLimitOptions;
  readonly #detector = new BypassDetector();
  readonly #forecast = new Forecast();
  /** Whether pulls of a repository count, and since when that is known: those of some publishers do not. */
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
      ...(source === undefined ? {} : { source }),
      ...(limit === undefined ? {} : { limit }),
      ...(remaining === undefined ? {} : { remaining }),
      ...(windowMs === undefined ? {} : { windowMs }),
      readAt: this.#readAt,
      isLow: this.#isLow(),
      ...(this.#isSpent() ? { spentUntil: this.#spentUntil } : {}),
      ...(emptyAt === undefined ? {} : { emptyAt }),
    };
  }

  /** A request for a manifest goes out. A GET is a pull. */
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

  /** Upstream has refused a pull, and said when to come back if it did. */
  refused(repository: string, retryAfterMs: number | undefined): void {
    const now = this.#options.now();
    const waitMs = retryAfterMs ?? this.#reading.windowMs ?? UNKNOWN_WINDOW_MS;
    this.#spentUntil = now + Math.min(waitMs, MAX_REFUSAL_MS);
    this.#repositories.set(repository, { counts: true, at: now, refusedUntil: this.#spentUntil });
    this.#options.onChange(this.state, 0);
  }

  /**
   * What another server under the same identity has read; true if it was news. Anonymous pulls count by address, and
   * theirs may differ.
   */
  adopt(state: Omit<PullLimitState, 'identity' | 'isLow' | 'emptyAt'>): boolean {
    const { readAt, limit, remaining, windowMs, source, spentUntil = 0 } = state;
    if (readAt < this.#readAt || !this.#isOurs(source)) return false;
    this.#take(
      {
        ...(limit === undefined ? {} : { limit }),
        ...(remaining === undefined ? {} : { remaining }),
        ...(windowMs === undefined ? {} : { windowMs }),
        ...(source === undefined ? {} : { source }),
      },
      readAt,
    );
    if (remaining !== undefined) this.#detector.adopt(remaining);
    // It was refused although something seemed to be left.
    this.#spentUntil = Math.max(this.#spentUntil, spentUntil);
    return true;
  }

  /** Another server has sent so many pulls under the limit of `source`. */
  spentElsewhere(pulls: number, source: string | undefined): void {
    if (this.#isOurs(source)) this.#detector.spentElsewhere(pulls);
  }

  /** What to answer to one who wants to pull from `repository`, instead of asking; undefined: ask. */
  refusal(repository: string): Failure | undefined {
    if (!this.#isSpent() || this.#repositories.peek(repository)?.counts === false) return undefined;
    const retryAfterMs = this.#spentUntil - this.#options.now();
    return { kind: 'limited', scope: 'pulls', retryAfterMs, spared: true };
  }

  /** Whether upstream has told so short a time ago how things stand with `repository` that a HEAD would tell no more. */
  hasNewsOf(repository: string): boolean {
    const known = this.#repositories.peek(repository);
    return known !== undefined && this.#options.now() - known.at < NEWS_MS;
  }

  /** Why only real misses may be fetched from `repository`; undefined: there are pulls enough, or it does not count. */
  shortage(repository: string): string | undefined {
    if (this.#repositories.peek(repository)?.counts === false) return undefined;
    if (this.#isSpent()) return `the pull limit of ${this.#options.host} is used up`;
    if (!this.#isLow()) return undefined;
    const { limit, remaining } = this.#reading;
    const left = limit === undefined ? `${remaining} pulls` : `${remaining} of ${limit} pulls`;
    return `only ${left} are left, which are kept for what is not in the cache`;
  }

  /** What is left; undefined: nobody has told, or pulls of the repository do not count. */
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
    // Where no limit was ever told of, silence about one says nothing.
    const counts = reading !== undefined || refusedUntil > at || this.#readAt === 0;
    this.#repositories.set(repository, { counts, at, refusedUntil });
    // Answers overtake each other: only what was asked later is news.
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
