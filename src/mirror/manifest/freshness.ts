import { compileGlob } from '../../lib/glob.ts';
import { withinMs } from '../../lib/promises.ts';
import { DOCKER_HUB, repositoryKey, type Repository } from '../../oci/reference.ts';
import type { ManifestStore, TagRecord } from '../../store/manifests.ts';
import type { Upstream } from '../../upstream/upstream.ts';
import { withinTimeLimit } from '../answer/time-limit.ts';
import type { TagCheck, TagChecker } from './check.ts';

/** Time until a cached tag needs a check, in ms. `never`: it is never checked. */
export type TtlMs = number | 'never';

export interface TagTtlsOptions {
  /** Patterns for `<repository>:<tag>`, with the host except for docker.io. The first match counts. */
  readonly rules: readonly { readonly pattern: string; readonly ttlMs: TtlMs }[];
  readonly otherwiseMs: TtlMs;
}

/** The setting `tagTtl`, with its rules for some tags. */
export class TagTtls {
  readonly #rules: readonly { readonly fits: (name: string) => boolean; readonly ttlMs: TtlMs }[];
  readonly #otherwiseMs: TtlMs;

  constructor(options: TagTtlsOptions) {
    this.#rules = options.rules.map(({ pattern, ttlMs }) => ({ fits: compileGlob(pattern), ttlMs }));
    this.#otherwiseMs = options.otherwiseMs;
  }

  of(repository: Repository, tag: string): TtlMs {
    if (this.#rules.length === 0) return this.#otherwiseMs;
    const name = `${repository.host === DOCKER_HUB ? repository.name : repositoryKey(repository)}:${tag}`;
    return this.#rules.find(({ fits }) => fits(name))?.ttlMs ?? this.#otherwiseMs;
  }
}

/**
 * Time limit for the new manifest of a moved tag. Before, a client may have waited 2 s for admission and 2 s for the
 * HEAD. After 9.5 s in total it would get an error in place of the cached image.
 */
const MOVE_WAIT_MS = 5000;
/** A check by another server of the fleet counts if it is at most this old. */
const SLACK_MS = 1000;

export interface CurrentTag {
  readonly record: TagRecord;
  readonly how: 'revalidated' | 'stale';
}

export interface FreshnessOptions {
  readonly store: ManifestStore;
  readonly checker: TagChecker;
  readonly ttls: TagTtls;
  readonly now: () => number;
}

/** Decides which cached tags need a check, and what a client gets if the check takes too long. */
export class TagFreshness {
  readonly #options: FreshnessOptions;

  constructor(options: FreshnessOptions) {
    this.#options = options;
  }

  /** A record of the tag is fresh if checked after this time; ms since the epoch. */
  freshSince(repository: Repository, tag: string): number {
    const ttlMs = this.#options.ttls.of(repository, tag);
    return ttlMs === 'never' ? 0 : this.#options.now() - ttlMs;
  }

  isFresh(repository: Repository, tag: string, { checkedAt }: TagRecord): boolean {
    return checkedAt > this.freshSince(repository, tag);
  }

  /**
   * The tag's new record if the check is in time, else the stale one. Throws PullError if upstream has deleted the tag.
   */
  async check(
    upstream: Upstream,
    repository: Repository,
    tag: string,
    record: TagRecord,
  ): Promise<CurrentTag> {
    const { checker, ttls } = this.#options;
    const ttlMs = ttls.of(repository, tag);
    const slackMs = ttlMs === 'never' ? 0 : Math.min(ttlMs, SLACK_MS);
    const check = checker.check({ upstream, repository, tag, record, trigger: 'client', slackMs });
    const late = { upstream, repository, tag, record };
    const answer = check.answered.then((digest) => ({ digest }));
    const movesTo = await withinTimeLimit(answer, upstream, repository);
    if (!movesTo.inTime) return this.#late(late, movesTo.reason);
    const settled = await withinMs(check.settled, MOVE_WAIT_MS);
    if (settled !== undefined) return currentOf(settled);
    const target = movesTo.value.digest ?? 'a new manifest';
    return this.#late(
      late,
      `${repository.host} has moved the tag to ${target}, which is still being fetched`,
    );
  }

  /** Checks the tag now, even if it is fresh, and waits for the result. */
  refresh(upstream: Upstream, repository: Repository, tag: string, record: TagRecord): Promise<TagCheck> {
    return this.#options.checker.check({ upstream, repository, tag, record, trigger: 'refresh', slackMs: 0 })
      .settled;
  }

  async #late(
    {
      repository,
      tag,
      record,
    }: { readonly repository: Repository; readonly tag: string; readonly record: TagRecord },
    failure: string,
  ): Promise<CurrentTag> {
    const stale: TagRecord = { ...record, checkedAt: this.#options.now(), failure };
    await this.#options.store.putTag(repository, tag, stale);
    return { record: stale, how: 'stale' };
  }
}

function currentOf(check: TagCheck): CurrentTag {
  switch (check.kind) {
    case 'unchanged':
    case 'moved':
      return { record: check.record, how: 'revalidated' };
    case 'failed':
      return { record: check.record, how: 'stale' };
    case 'gone':
      if (check.record === undefined) throw check.error;
      return { record: check.record, how: 'stale' };
  }
}
