import { withinMs } from '../lib/deadline.ts';
import { deferred, type Deferred } from '../lib/deferred.ts';
import type { Digest } from '../oci/digest.ts';
import { repositoryKey, type Reference, type Repository } from '../oci/reference.ts';
import type { ManifestStore, TagRecord } from '../store/manifest-store.ts';
import type { Upstream } from '../upstream/upstream.ts';
import type { ManifestFetcher } from './manifest-fetcher.ts';
import type { NegativeCache } from './negative-cache.ts';
import { failureError, failureReason, requirePulls, saysAbsent } from './outcome-error.ts';
import { PullError } from './pull-error.ts';

/** How long a client waits for the HEAD that checks a tag, and then for the manifest that a moved tag names. */
const CHECK_WAIT_MS = 2000;
const MOVE_WAIT_MS = 6000;

export interface CurrentTag {
  readonly record: TagRecord;
  readonly how: 'fresh' | 'revalidated' | 'stale';
}

export interface FreshnessOptions {
  readonly store: ManifestStore;
  readonly fetcher: ManifestFetcher;
  readonly negative: NegativeCache;
  readonly tagTtlMs: number;
  readonly now: () => number;
}

/** Upstream has answered the HEAD; `movesTo` if the tag names something else now. */
interface HeadAnswer {
  readonly movesTo?: Digest | undefined;
}

/** A running check of one tag. It goes on when those who wait for it have given up. */
interface Check {
  readonly answered: Promise<HeadAnswer>;
  readonly settled: Promise<CurrentTag>;
}

/**
 * Keeps tags that are already cached in step with upstream, by one HEAD per tag at a time. Whatever happens, a check
 * moves the tag's clock on, so that an upstream that is gone costs one wait per `tagTtl` and not one per pull.
 */
export class TagFreshness {
  readonly #options: FreshnessOptions;
  readonly #running = new Map<string, Check>();

  constructor(options: FreshnessOptions) {
    this.#options = options;
  }

  /** Records checked since then are fresh; ms since the epoch. */
  freshSince(): number {
    return this.#options.now() - this.#options.tagTtlMs;
  }

  /** What the tag names now, as far as can be told in time. Throws PullError if upstream says that it is gone. */
  async current(
    upstream: Upstream,
    repository: Repository,
    tag: string,
    record: TagRecord,
  ): Promise<CurrentTag> {
    if (record.checkedAt > this.freshSince()) {
      return { record, how: record.failure === undefined ? 'fresh' : 'stale' };
    }
    const check = this.#check(upstream, repository, tag, record);
    const answer = await withinMs(check.answered, CHECK_WAIT_MS);
    if (answer === undefined) {
      return this.#failed(
        repository,
        tag,
        record,
        `${repository.host} did not answer within ${CHECK_WAIT_MS / 1000} s`,
      );
    }
    const settled = await withinMs(check.settled, MOVE_WAIT_MS);
    if (settled !== undefined) return settled;
    const target = answer.movesTo ?? 'something else';
    return this.#failed(repository, tag, record, `upstream names ${target} now, which is still on its way`);
  }

  #check(upstream: Upstream, repository: Repository, tag: string, record: TagRecord): Check {
    const key = `${repositoryKey(repository)}:${tag}`;
    const running = this.#running.get(key);
    if (running !== undefined) return running;
    const answered = deferred<HeadAnswer>();
    const settled = this.#run(upstream, repository, tag, { record, answered }).finally(() => {
      answered.resolve({});
      this.#running.delete(key);
    });
    settled.catch(() => undefined);
    const check = { answered: answered.promise, settled };
    this.#running.set(key, check);
    return check;
  }

  async #run(
    upstream: Upstream,
    repository: Repository,
    tag: string,
    { record, answered }: { record: TagRecord; answered: Deferred<HeadAnswer> },
  ): Promise<CurrentTag> {
    const { store, negative, now } = this.#options;
    const outcome = await upstream.headManifest(
      repository.name,
      { kind: 'tag', tag },
      { identity: 'configured' },
    );
    if (outcome.kind !== 'ok') {
      answered.resolve({});
      if (!saysAbsent(outcome)) return this.#failed(repository, tag, record, failureReason(outcome));
      if (outcome.kind === 'not-found') {
        await store.deleteTag(repository, tag);
        if (!outcome.noStore) negative.remember(repository, tag);
      }
      throw failureError(outcome, `${repository.name}:${tag}`, 'manifest-unknown');
    }
    if (outcome.value?.digest === record.descriptor.digest) {
      return this.#confirmed(repository, tag, {
        descriptor: record.descriptor,
        checkedAt: now(),
        confirmedAt: now(),
      });
    }
    answered.resolve({ movesTo: outcome.value?.digest });
    return this.#move(upstream, repository, tag, { record, digest: outcome.value?.digest });
  }

  /** The tag names something else now. It moves only once that is stored, so that no outage can lose it. */
  async #move(
    upstream: Upstream,
    repository: Repository,
    tag: string,
    { record, digest }: { record: TagRecord; digest: Digest | undefined },
  ): Promise<CurrentTag> {
    const { store, fetcher, now } = this.#options;
    try {
      const known = digest === undefined ? undefined : await store.getManifest(digest);
      if (known === undefined) requirePulls(upstream, repository);
      const reference: Reference = digest === undefined ? { kind: 'tag', tag } : { kind: 'digest', digest };
      const manifest = known ?? (await fetcher.fetch(upstream, repository, reference).promise);
      const descriptor = {
        digest: manifest.digest,
        mediaType: manifest.mediaType,
        size: manifest.bytes.length,
      };
      return await this.#confirmed(repository, tag, { descriptor, checkedAt: now(), confirmedAt: now() });
    } catch (error) {
      if (!(error instanceof PullError)) throw error;
      const target = digest ?? 'something else';
      return this.#failed(repository, tag, record, `upstream names ${target} now, but ${error.message}`);
    }
  }

  async #confirmed(repository: Repository, tag: string, record: TagRecord): Promise<CurrentTag> {
    await this.#options.store.putTag(repository, tag, record);
    return { record, how: 'revalidated' };
  }

  async #failed(
    repository: Repository,
    tag: string,
    record: TagRecord,
    failure: string,
  ): Promise<CurrentTag> {
    const stale: TagRecord = { ...record, checkedAt: this.#options.now(), failure };
    await this.#options.store.putTag(repository, tag, stale);
    return { record: stale, how: 'stale' };
  }
}
