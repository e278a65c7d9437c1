import { compileGlob } from '../../lib/glob.ts';
import { withinMs } from '../../lib/promises.ts';
import { DOCKER_HUB, repositoryKey, type Repository } from '../../oci/reference.ts';
import type { ManifestStore, TagRecord } from '../../store/manifests.ts';
import type { Upstream } from '../../upstream/upstream.ts';
import { withinTimeLimit } from '../answer/time-limit.ts';
import type { TagCheck, TagChecker } from './check.ts';

/** How long a tag may be served unchecked, in ms; `never`: once it is known it is never checked. */
export type TtlMs = number | 'never';

export interface TagTtlsOptions {
  /** For `<repository>:<tag>`, the repository of another registry than docker.io with its host. The first that fits counts. */
  readonly rules: readonly { readonly pattern: string; readonly ttlMs: TtlMs }[];
  readonly otherwiseMs: TtlMs;
}

/** How long each tag may be served before upstream is asked whether it has moved. */
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
 * How long a client waits for the manifest that a moved tag names. Before that it may have waited 2 s to be admitted and
 * 2 s for the HEAD, and after 9.5 s it would get an error in place of what is cached.
 */
const MOVE_WAIT_MS = 5000;
/** Servers of a fleet need not check anew what one of them has checked so short a time before. */
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

/** Keeps tags that are already cached in step with upstream: which are due, and what a client gets meanwhile. */
export class TagFreshness {
  readonly #options: FreshnessOptions;

  constructor(options: FreshnessOptions) {
    this.#options = options;
  }

  /** Records of the tag that were checked since then are fresh; ms since the epoch. */
  freshSince(repository: Repository, tag: string): number {
    const ttlMs = this.#options.ttls.of(repository, tag);
    return ttlMs === 'never' ? 0 : this.#options.now() - ttlMs;
  }

  isFresh(repository: Repository, tag: string, { checkedAt }: TagRecord): boolean {
    return checkedAt > this.freshSince(repository, tag);
  }

  /** What the tag names now, as far as can be told in time. Throws PullError if upstream says that it is gone. */
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
    const target = movesTo.value.digest ?? 'something else';
    return this.#late(late, `${repository.host} names ${target} now, which is still on its way`);
  }

  /** Asks upstream now, however fresh the tag is, and waits for what comes of it. */
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
