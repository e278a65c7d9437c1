import { LRUCache } from 'lru-cache';
import type { Tell } from '../../events/events.ts';
import { repositoryKey, type Repository } from '../../oci/reference.ts';
import type { ManifestStore } from '../../store/manifests.ts';
import type { Upstream } from '../../upstream/upstream.ts';
import type { TagCheck, TagChecker } from './check.ts';
import type { TagTtls } from './freshness.ts';

/** Visits that are looked back at. */
const MAX_VISITS = 6;
/** Two equal gaps are the least that make a rhythm. */
const MIN_VISITS = 3;

/** When a tag may be wanted next; ms since the epoch. */
export interface Expectation {
  readonly from: number;
  readonly until: number;
}

/**
 * When a tag is asked for, as a rhythm. Requests within one ttl count as one visit, so a fleet that pulls at once
 * does not look like one that pulls every second. The next visit is expected one usual gap (the median) after the
 * last one. It is a rhythm if the last two gaps were that long to within a ttl: then a check in time would have been
 * of use both times.
 */
export class PullRhythm {
  readonly #ttlMs: number;
  readonly #visits: number[] = [];

  constructor(ttlMs: number) {
    this.#ttlMs = ttlMs;
  }

  /** Somebody asks at `now`; ms since the epoch. */
  asked(now: number): void {
    const last = this.#visits.at(-1);
    if (last !== undefined && now - last < this.#ttlMs) return;
    this.#visits.push(now);
    if (this.#visits.length > MAX_VISITS) this.#visits.shift();
  }

  /** Undefined: there is no telling. A visit that fails to come is waited for a little, and then no longer. */
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
  /** HEADs a minute; 0 watches nothing. */
  readonly maxPerMinute: number;
  /** Whether upstream may be asked what nobody waits for. */
  readonly mayCheck: (upstream: Upstream, repository: Repository) => boolean;
  /** Called for each check that was due and did not take place, with what stood against it. */
  readonly tell: Tell<'tagCheckSkipped'>;
  readonly now: () => number;
}

interface Watched {
  readonly upstream: Upstream;
  readonly repository: Repository;
  readonly tag: string;
  readonly ttlMs: number;
  readonly rhythm: PullRhythm;
  /** How much of the ttl may pass between two checks: less for a tag that was found to have moved. */
  share: number;
  timer: NodeJS.Timeout | undefined;
}

const MAX_TAGS = 5000;
/** Longer timers than some 25 days run out at once (Node, `setTimeout`). */
const MAX_TIMER_MS = 86_400_000;
/** A check comes when this much of its time has passed, a little sooner or later, so that they do not come all at once. */
const EARLIEST = 0.75;
const JITTER = 0.15;
const MIN_SHARE = 0.25;

/**
 * Checks tags that are asked for in a rhythm before they are wanted again, so that nobody waits for upstream. It only
 * adds checks: a tag that it leaves alone is checked when a client asks and its ttl is over.
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

  /** Tags that have a check ahead. */
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

  /** Comes back when the tag may be wanted next, `earliest` ms since the epoch at the least; not at all if it is not. */
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
    // Another server of the fleet may have checked it meanwhile.
    const record = await store.getTag(repository, tag, now() - everyMs);
    if (watched.timer !== timer) return;
    if (record === undefined) watched.timer = undefined;
    else if (record.checkedAt + everyMs > now()) this.#plan(watched, record.checkedAt + everyMs);
    else await this.#check(watched, record);
  }

  async #check(watched: Watched, record: Parameters<TagChecker['check']>[0]['record']): Promise<void> {
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

  /** One HEAD of the allowance, which fills up again over a minute; false if there is none left. */
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

/** A tag that has moved is looked at twice as often, one that has not half as often, down to once in its ttl. */
function nextShare(share: number, check: TagCheck | undefined): number {
  if (check?.kind === 'moved') return Math.max(MIN_SHARE, share / 2);
  return check?.kind === 'unchanged' ? Math.min(1, share * 2) : share;
}
