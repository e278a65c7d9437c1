import { LRUCache } from 'lru-cache';
import { CLOCK_SKEW_MS } from '../../lib/clock.ts';
import { withinMs } from '../../lib/promises.ts';
import { SingleFlight } from '../../lib/single-flight.ts';
import type { Digest } from '../../oci/digest.ts';
import { formatRepositoryName } from '../../oci/image-name.ts';
import { OCI_INDEX } from '../../oci/media-types.ts';
import { repositoryKey, type Reference, type Repository } from '../../oci/reference.ts';
import { countReferrers, NO_REFERRERS, referrerDigests, referrersTag } from '../../oci/referrers.ts';
import type { ManifestStore, ReferrersRecord, ReferrersStore } from '../../store/manifests.ts';
import { type Upstream, failureReason, isTimeout } from '../../upstream/upstream.ts';
import type { RepositoryAccess } from '../access/access.ts';
import type { ReferrersAnswer } from '../answer/answers.ts';
import { failureError, saysAbsent, isLate, PullError } from '../answer/errors.ts';
import type { NegativeCache } from '../answer/negative-cache.ts';
import { withinTimeLimit } from '../answer/time-limit.ts';
import type { ManifestFetcher, ManifestHeads } from '../manifest/fetch.ts';

export interface ReferrersOptions {
  readonly store: ReferrersStore;
  /** Has the tags of the referrers tag schema, like all tags. */
  readonly tags: Pick<ManifestStore, 'getLink' | 'getManifest' | 'getTag'>;
  readonly access: RepositoryAccess;
  readonly negative: NegativeCache;
  /** Prefetches such a tag, for outages. Undefined: no prefetch. */
  readonly ahead?: { readonly heads: ManifestHeads; readonly fetcher: ManifestFetcher } | undefined;
  /** How long cached referrers are served without asking upstream. */
  readonly ttlMs: number;
  /** Ms since the epoch. */
  readonly now: () => number;
}

/** Time limit for upstream if no referrers are cached. */
const MISS_WAIT_MS = 8000;
const MAX_MEMORY_BYTES = 16 * 1024 * 1024;
/** Larger indexes are passed on without caching. */
const MAX_KEPT_BYTES = 256 * 1024;

/**
 * Referrers of a manifest: signatures, attestations. Docker Engine 29 fails a pull on every error but "not found". So
 * in an outage, clients get the cached index, or else an empty one, with a warning. Empty indexes are cached in memory
 * only, as most manifests have no referrers.
 */
export class Referrers {
  readonly #options: ReferrersOptions;
  readonly #recent = new LRUCache<string, ReferrersRecord>({
    maxSize: MAX_MEMORY_BYTES,
    sizeCalculation: ({ bytes }) => bytes.length + 200,
  });
  readonly #flights = new SingleFlight<ReferrersAnswer>(isLate);

  constructor(options: ReferrersOptions) {
    this.#options = options;
  }

  /** Throws PullError if upstream answers "not found" or refuses, but not in an outage. */
  async list(upstream: Upstream, repository: Repository, digest: Digest): Promise<ReferrersAnswer> {
    const answer = await this.#listInAnyCase(upstream, repository, digest);
    // Clients may ask for the referrers next.
    await this.#options.access.scope.offer(repository, referrerDigests(answer.bytes));
    return answer;
  }

  async #listInAnyCase(upstream: Upstream, repository: Repository, digest: Digest): Promise<ReferrersAnswer> {
    let isAdmitted = false;
    const inOutage = async (reason: string): Promise<ReferrersAnswer> => {
      const known = isAdmitted ? await this.#cached(repository, digest) : undefined;
      return answerInOutage(known, reason);
    };
    const listed = async (): Promise<ReferrersAnswer> => {
      await this.#options.access.admit(upstream, repository, { kind: 'referrers', digest });
      isAdmitted = true;
      return this.#listChecked(upstream, repository, digest);
    };
    try {
      if (this.#known(repository, digest) !== undefined) {
        const waited = await withinTimeLimit(listed(), upstream, repository);
        return waited.inTime ? waited.value : await inOutage(waited.reason);
      }
      const answer = await withinMs(listed(), MISS_WAIT_MS);
      if (answer !== undefined) return answer;
    } catch (error) {
      if (!(error instanceof PullError) || error.code !== 'unavailable') throw error;
      return inOutage(error.message);
    }
    return inOutage(`${repository.host} did not answer within ${MISS_WAIT_MS / 1000} s`);
  }

  /** Stores referrers from another source, such as a bundle. */
  async learn(repository: Repository, digest: Digest, bytes: Buffer): Promise<void> {
    this.#options.negative.forget(repository, name(digest));
    await this.#keep(repository, digest, bytes);
  }

  async #listChecked(upstream: Upstream, repository: Repository, digest: Digest): Promise<ReferrersAnswer> {
    const { negative, now, ttlMs } = this.#options;
    const known = this.#known(repository, digest);
    const ageMs = known === undefined ? Infinity : now() - known.confirmedAt;
    if (known !== undefined && ageMs < ttlMs && ageMs >= -CLOCK_SKEW_MS) {
      return { bytes: known.bytes, cache: 'hit' };
    }
    if (negative.has(repository, name(digest))) throw notServed(repository, digest, { remembered: true });
    const key = `${repositoryKey(repository)}@${digest}`;
    return this.#flights.run(key, () => this.#ask(upstream, repository, digest)).promise;
  }

  async #ask(upstream: Upstream, repository: Repository, digest: Digest): Promise<ReferrersAnswer> {
    const { access, negative, store } = this.#options;
    const outcome = await upstream.listReferrers(repository.name, digest, { identity: 'configured' });
    if (outcome.kind === 'ok') {
      if (!upstream.hasCredentials) await access.confirmPublic(repository);
      const isKept = await this.#keep(repository, digest, outcome.value.bytes);
      return { bytes: outcome.value.bytes, cache: isKept ? 'stored' : 'bypass' };
    }
    if (!saysAbsent(outcome)) {
      throw new PullError('unavailable', failureReason(outcome, repository.host), {
        isLate: isTimeout(outcome),
      });
    }
    if (outcome.kind !== 'not-found') {
      const what = formatRepositoryName(repository);
      throw failureError(outcome, { what, host: repository.host, absent: 'repository-unknown' });
    }
    negative.remember(repository, name(digest));
    await store.deleteReferrers(repository, digest);
    this.#recent.delete(`${repositoryKey(repository)}@${digest}`);
    void this.#fetchTag(upstream, repository, digest);
    throw notServed(repository, digest, {});
  }

  /** Prefetches the tag, as the answer in an outage. A client that asks for the tag now joins. Never rejects. */
  async #fetchTag(upstream: Upstream, repository: Repository, digest: Digest): Promise<void> {
    const { ahead, tags } = this.#options;
    const reference: Reference = { kind: 'tag', tag: referrersTag(digest) };
    try {
      if (ahead === undefined || !upstream.mayPrefetch(repository.name)) return;
      if ((await tags.getTag(repository, reference.tag)) !== undefined) return;
      // Most images have no such tag. A HEAD shows that, and is not a pull.
      const named = await ahead.heads.head(upstream, repository, reference);
      if (named?.digest === digest) return;
      await ahead.fetcher.fetch(
        upstream,
        repository,
        named === undefined ? reference : { kind: 'digest', digest: named.digest },
      ).promise;
    } catch {
      // A client that needs the tag asks for it.
    }
  }

  #known(repository: Repository, digest: Digest): ReferrersRecord | undefined {
    const recent = this.#recent.get(`${repositoryKey(repository)}@${digest}`);
    return recent ?? this.#options.store.getReferrers(repository, digest);
  }

  /**
   * The cached referrers. If upstream has no referrers API, this is the index of the tag that clients then ask for (OCI
   * distribution-spec, "Referrers Tag Schema"). After an empty answer they would not ask for the tag.
   */
  async #cached(repository: Repository, digest: Digest): Promise<ReferrersRecord | undefined> {
    const known = this.#known(repository, digest);
    if (known !== undefined) return known;
    const { tags } = this.#options;
    const record = await tags.getTag(repository, referrersTag(digest));
    if (record === undefined) return undefined;
    const { digest: named } = record.descriptor;
    // GitLab answers such a tag with the manifest itself (oras-project/oras#2148).
    if (named === digest) return undefined;
    const link = await tags.getLink(repository, named);
    const index = link === undefined ? undefined : await tags.getManifest(named);
    if (index?.descriptor.mediaType !== OCI_INDEX) return undefined;
    return { bytes: index.bytes, confirmedAt: record.confirmedAt };
  }

  async #keep(repository: Repository, digest: Digest, bytes: Buffer): Promise<boolean> {
    if (bytes.length > MAX_KEPT_BYTES) return false;
    const { store, now } = this.#options;
    const record = { bytes, confirmedAt: now() };
    this.#recent.set(`${repositoryKey(repository)}@${digest}`, record);
    if (countReferrers(bytes) > 0) await store.putReferrers(repository, digest, record);
    else await store.deleteReferrers(repository, digest);
    return true;
  }
}

function answerInOutage(known: ReferrersRecord | undefined, reason: string): ReferrersAnswer {
  if (known === undefined) return { bytes: NO_REFERRERS, cache: 'miss', failure: reason };
  return { bytes: known.bytes, cache: 'stale', stale: { reason, confirmedAt: known.confirmedAt } };
}

/** Only "not found" makes clients use the referrers tag schema. */
function notServed(
  { host }: Repository,
  digest: Digest,
  options: { readonly remembered?: boolean },
): PullError {
  return new PullError('manifest-unknown', `${host} has no referrers of ${digest}`, options);
}

/** A key that no tag or digest can equal. */
function name(digest: Digest): string {
  return `referrers of ${digest}`;
}
