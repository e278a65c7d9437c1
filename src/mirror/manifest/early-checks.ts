import { LRUCache } from 'lru-cache';
import type { Tell } from '../../events/events.ts';
import { repositoryKey, type Repository } from '../../oci/reference.ts';
import type { ManifestStore, TagRecord } from '../../store/manifests.ts';
import type { Upstream } from '../../upstream/upstream.ts';
import type { TagCheck, TagChecker } from './check.ts';
import type { TagTtls } from './freshness.ts';

/** Visits in memory. */
const MAX_VISITS = 6;
/** A rhythm needs at least two equal gaps. */
const MIN_VISITS = 3;

/** When the next request for a tag is expected; ms since the epoch. */
export interface Expectation {
  readonly from: number;
  readonly until: number;
}

/**
 * The rhythm of the requests for a tag. Requests within one TTL count as one visit, so that many clients at once do not
 * look like one every second. The next visit is expected one median gap after the last. It is a rhythm if each of the
 * last two gaps differs from the median by at most one TTL: then an early check would have been useful both times.
 */
export class PullRhythm {
  readonly #ttlMs: number;
  readonly #visits: number[] = [];

  constructor(ttlMs: number) {
    this.#ttlMs = ttlMs;
  }

  /** A client asks at `now`; ms since the epoch. */
  asked(now: number): void {
    const last = this.#visits.at(-1);
    if (last !== undefined && now - last < this.#ttlMs) return;
    this.#visits.push(now);
    if (this.#visits.length > MAX_VISITS) this.#visits.shift();
  }

  /** Undefined: no rhythm. `until` ends the expectation if the visit does not come. */
  next(): Expectation | undefined {
    const last = this.#visits.at(-1);
    if (last === undefined || this.#visits.length < MIN_VISITS) return undefined;
    const gaps = this.#visits.slice(1).map((visit, index) => visit - (this.#visits[index] ?? 0));
    const usual = median(gaps);
    if (gaps.slice(-2).some((gap) => Math.abs(gap - usual) > this.#ttlMs)) return undefined;
    return { from: last + usual - this.#ttlMs / 2, until: last + usual + this.#ttlMs * 1.5 };
  }
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}

export interface EarlyChecksOptions {
  readonly store: ManifestStore;
  readonly checker: TagChecker;
  readonly ttls: TagTtls;
  /** Limit of HEADs per minute; 0: off. */
  readonly maxPerMinute: number;
  /** Whether checks in the background may ask upstream now. */
  readonly mayCheck: (upstream: Upstream, repository: Repository) => boolean;
  readonly tell: Tell<'tagCheckSkipped'>;
  readonly now: () => number;
}

interface Watched {
  readonly upstream: Upstream;
  readonly repository: Repository;
  readonly tag: string;
  readonly ttlMs: number;
  readonly rhythm: PullRhythm;
  /** The time between two checks as a share of the TTL: smaller for tags that move often. */
  share: number;
  timer: NodeJS.Timeout | undefined;
}

const MAX_TAGS = 5000;
/** Node's `setTimeout` fires at once if the time exceeds about 25 days. */
const MAX_TIMER_MS = 86_400_000;
/** A check comes after this share of its time, plus a random part, so that checks are spread. */
const EARLIEST = 0.75;
const JITTER = 0.15;
const MIN_SHARE = 0.25;

/**
 * Checks tags that clients request in a rhythm, shortly before the next request, so that no client waits for upstream.
 * All other tags are checked when a client asks after their TTL.
 */
export class EarlyChecks {
  readonly #options: EarlyChecksOptions;
  readonly #watched = new LRUCache<string, Watched>({
    max: MAX_TAGS,
    dispose: ({ timer }) => clearTimeout(timer),
  });
  #allowance: number;
  #allowanceAt: number;

  constructor(options: EarlyChecksOptions) {
    this.#options = options;
    this.#allowance = options.maxPerMinute;
    this.#allowanceAt = options.now();
  }

  /** Number of tags with a planned check. */
  get size(): number {
    return [...this.#watched.values()].filter(({ timer }) => timer !== undefined).length;
  }

  /** A client has asked for the tag. */
  asked(upstream: Upstream, repository: Repository, tag: string): void {
    const ttlMs = this.#options.ttls.of(repository, tag);
    if (ttlMs === 'never' || ttlMs === 0 || this.#options.maxPerMinute === 0) return;
    const key = keyOf({ repository, tag });
    const known = this.#watched.get(key);
    const watched = known ?? {
      upstream,
      repository,
      tag,
      ttlMs,
      rhythm: new PullRhythm(ttlMs),
      share: 1,
      timer: undefined,
    };
    if (known === undefined) this.#watched.set(key, watched);
    watched.rhythm.asked(this.#options.now());
    if (watched.timer === undefined) this.#plan(watched, 0);
  }

  close(): void {
    this.#watched.clear();
  }

  /** Plans a check for the next expected request, not before `earliest` (ms since the epoch). No rhythm: no check. */
  #plan(watched: Watched, earliest: number): void {
    watched.timer = undefined;
    const next = watched.rhythm.next();
    const at = Math.max(next?.from ?? Infinity, earliest);
    if (next === undefined || at > next.until || this.#watched.peek(keyOf(watched)) !== watched) return;
    const waitMs = Math.min(MAX_TIMER_MS, Math.max(0, at - this.#options.now()));
    const timer = setTimeout(() => {
      if (this.#options.now() < at) this.#plan(watched, earliest);
      else this.#due(watched).catch(() => this.#watched.delete(keyOf(watched)));
    }, waitMs);
    watched.timer = timer.unref();
  }

  async #due(watched: Watched): Promise<void> {
    const { store, now } = this.#options;
    const { repository, tag, ttlMs, share, timer } = watched;
    const everyMs = ttlMs * share * (EARLIEST + Math.random() * JITTER);
    // Another server of the fleet may have checked the tag meanwhile.
    const record = await store.getTag(repository, tag, now() - everyMs);
    if (watched.timer !== timer) return;
    if (record === undefined) watched.timer = undefined;
    else if (record.checkedAt + everyMs > now()) this.#plan(watched, record.checkedAt + everyMs);
    else await this.#check(watched, record);
  }

  async #check(watched: Watched, record: TagRecord): Promise<void> {
    const { checker, mayCheck, tell, now } = this.#options;
    const { upstream, repository, tag, ttlMs } = watched;
    const obstacle = !mayCheck(upstream, repository) ? 'upstream' : this.#spend() ? undefined : 'limit';
    if (obstacle !== undefined) {
      tell('tagCheckSkipped', { reason: obstacle });
      watched.timer = undefined;
      return;
    }
    const slackMs = Math.min(1000, ttlMs * MIN_SHARE);
    const question = { upstream, repository, tag, record, trigger: 'background', slackMs } as const;
    const result = await checker.check(question).settled.catch(() => undefined);
    watched.share = nextShare(watched.share, result);
    if (result === undefined || result.kind === 'failed' || result.kind === 'gone') watched.timer = undefined;
    else this.#plan(watched, now());
  }

  /** Takes one HEAD from the allowance, which refills within a minute; false if it is used up. */
  #spend(): boolean {
    const { maxPerMinute, now } = this.#options;
    const passedMs = now() - this.#allowanceAt;
    this.#allowanceAt += passedMs;
    this.#allowance = Math.min(maxPerMinute, this.#allowance + (passedMs / 60_000) * maxPerMinute);
    if (this.#allowance < 1) return false;
    this.#allowance -= 1;
    return true;
  }
}

function keyOf({ repository, tag }: { readonly repository: Repository; readonly tag: string }): string {
  return `${repositoryKey(repository)}:${tag}`;
}

/** A tag that moved is checked twice as often; one that did not, half as often, but at least once per TTL. */
function nextShare(share: number, check: TagCheck | undefined): number {
  if (check?.kind === 'moved') return Math.max(MIN_SHARE, share / 2);
  return check?.kind === 'unchanged' ? Math.min(1, share * 2) : share;
}
