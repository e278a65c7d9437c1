import type { Digest } from '../../oci/digest.ts';
import { formatImageName } from '../../oci/image-name.ts';
import { parseManifest, type Descriptor } from '../../oci/manifest.ts';
import { isIndexType } from '../../oci/media-types.ts';
import { referenceText, type Reference, type Repository } from '../../oci/reference.ts';
import {
  descriptorOf,
  type ImageUsage,
  type ManifestStore,
  type StoredManifest,
  type TagRecord,
} from '../../store/manifests.ts';
import type { Upstream } from '../../upstream/upstream.ts';
import type { RepositoryAccess } from '../access/access.ts';
import type { ContentLinks } from '../access/links.ts';
import type { CacheStatus, Staleness, ManifestRequest, ManifestAnswer } from '../answer/answers.ts';
import { PullError } from '../answer/errors.ts';
import type { NegativeCache } from '../answer/negative-cache.ts';
import type { EarlyChecks } from './early-checks.ts';
import type { IndexEntries } from './entries.ts';
import type { ManifestFetcher, ManifestHeads } from './fetch.ts';
import type { TagFreshness } from './freshness.ts';
import type { MissingBlobs } from './missing-blobs.ts';
import type { PlatformResolver } from './platforms.ts';

export interface ManifestPullerOptions {
  readonly store: ManifestStore;
  readonly access: RepositoryAccess;
  readonly links: ContentLinks;
  readonly fetcher: ManifestFetcher;
  readonly heads: ManifestHeads;
  readonly freshness: TagFreshness;
  readonly watch: EarlyChecks;
  readonly negative: NegativeCache;
  readonly resolver: PlatformResolver;
  readonly usage: ImageUsage;
  readonly missingBlobs: MissingBlobs;
  readonly members: IndexEntries;
}

/** What a tag names, before it is fitted to the client. */
interface Target {
  readonly descriptor: Descriptor;
  readonly cache: CacheStatus;
  readonly stale?: Staleness;
}

/** Serves manifests: from the cache when it can, from upstream when it must, fitted to the client by tag only. */
export class ManifestPuller {
  readonly #options: ManifestPullerOptions;

  constructor(options: ManifestPullerOptions) {
    this.#options = options;
  }

  /** Throws PullError. */
  async pull(upstream: Upstream, request: ManifestRequest): Promise<ManifestAnswer> {
    const { repository, reference } = request;
    await this.#options.access.admit(upstream, repository, { kind: 'manifest', reference });
    const answer =
      reference.kind === 'digest'
        ? await this.#byDigest(upstream, request, reference.digest)
        : await this.#byTag(upstream, request, reference.tag);
    if (reference.kind === 'tag')
      await this.#options.access.scope.offer(repository, [answer.descriptor.digest]);
    if (request.headOnly) return answer;
    await this.#options.access.scope.offer(repository, entriesOf(answer));
    await this.#options.missingBlobs.require(upstream, repository, manifestOf(answer));
    this.#options.usage.touch(answer.descriptor.digest);
    return answer;
  }

  async #byDigest(upstream: Upstream, request: ManifestRequest, digest: Digest): Promise<ManifestAnswer> {
    const { repository } = request;
    const stored = await this.#options.store.getManifest(digest);
    if (stored !== undefined) {
      await this.#requireLink(upstream, repository, digest);
      return this.#held(upstream, repository, digest, stored);
    }
    this.#refuseRemembered(repository, { kind: 'digest', digest });
    if (request.headOnly) {
      const descriptor = await this.#options.heads.head(upstream, repository, { kind: 'digest', digest });
      if (descriptor !== undefined) return { descriptor, cache: 'miss' };
    }
    return this.#fetch(upstream, repository, { kind: 'digest', digest });
  }

  async #byTag(upstream: Upstream, request: ManifestRequest, tag: string): Promise<ManifestAnswer> {
    const { target, known } = await this.#proven(upstream, request, tag);
    const { descriptor: named, cache, stale } = target;
    const { repository, client, headOnly } = request;
    const { resolver, store } = this.#options;
    // Upstream's HEAD may have been wrong about all but the digest.
    const descriptor = known === undefined ? named : descriptorOf(known);
    const marks = { cache, ...(stale === undefined ? {} : { stale }) };
    if (resolver.takes(client, descriptor.mediaType)) {
      if (headOnly) return { descriptor, ...marks };
      const answer = await this.#held(upstream, repository, descriptor.digest, known);
      return { ...answer, ...(answer.cache === 'hit' ? marks : { ...marks, cache: answer.cache }) };
    }
    if (!isIndexType(descriptor.mediaType)) resolver.requireAccepted(client, descriptor.mediaType);
    const list = await this.#held(upstream, repository, descriptor.digest, known);
    const { digest, mediaType, size } = await resolver.choose(client, manifestOf(list), async (nested) =>
      manifestOf(await this.#loadEntry(upstream, repository, nested.digest)),
    );
    if (headOnly) {
      const stored = await store.getManifest(digest);
      if (stored !== undefined) await this.#requireLink(upstream, repository, digest);
      return {
        descriptor: stored === undefined ? { digest, mediaType, size } : descriptorOf(stored),
        ...marks,
        list: list.descriptor.digest,
      };
    }
    const answer = await this.#loadEntry(upstream, repository, digest);
    // The list may have been wrong about the type.
    resolver.requireAccepted(client, answer.descriptor.mediaType);
    const cached = answer.cache === 'hit' ? marks : { ...marks, cache: answer.cache };
    return { ...answer, ...cached, list: list.descriptor.digest };
  }

  /**
   * What the tag names, and `known` if that is stored and the repository is known to hold it: records of tags are shared
   * with whoever can write to Redis, and may name what is of another repository.
   */
  async #proven(
    upstream: Upstream,
    request: ManifestRequest,
    tag: string,
  ): Promise<{ readonly target: Target; readonly known: StoredManifest | undefined }> {
    const { store } = this.#options;
    const { repository } = request;
    const target = await this.#target(upstream, request, tag);
    const known = await store.getManifest(target.descriptor.digest);
    if (known === undefined) return { target, known };
    try {
      await this.#requireLink(upstream, repository, known.digest);
      return { target, known };
    } catch (error) {
      const isNo = error instanceof PullError && error.code !== 'unavailable' && !error.noStore;
      if (!isNo) throw error;
    }
    await store.deleteTag(repository, tag);
    const told = await this.#unseen(upstream, request, tag);
    return {
      target: told,
      known: request.headOnly ? undefined : await store.getManifest(told.descriptor.digest),
    };
  }

  /** What the tag names: by what is remembered if that is fresh, by asking upstream if not. */
  async #target(upstream: Upstream, request: ManifestRequest, tag: string): Promise<Target> {
    const { store, freshness, watch } = this.#options;
    const { repository } = request;
    watch.asked(upstream, repository, tag);
    const record = await store.getTag(repository, tag, freshness.freshSince(repository, tag));
    if (record === undefined) return this.#unseen(upstream, request, tag);
    const fresh = freshness.isFresh(repository, tag, record);
    // What only a HEAD told, and nobody fetched since, is of no use once it is old.
    if (!fresh && (await store.getManifest(record.descriptor.digest)) === undefined) {
      return this.#unseen(upstream, request, tag);
    }
    const current = await freshness.current(upstream, repository, tag, record);
    return targetOf(current.record, current.how === 'fresh' ? 'hit' : current.how);
  }

  async #unseen(upstream: Upstream, request: ManifestRequest, tag: string): Promise<Target> {
    const { repository, headOnly } = request;
    const reference: Reference = { kind: 'tag', tag };
    this.#refuseRemembered(repository, reference);
    if (headOnly) {
      const descriptor = await this.#options.heads.head(upstream, repository, reference);
      if (descriptor !== undefined) return { descriptor, cache: 'miss' };
    }
    const answer = await this.#fetch(upstream, repository, reference);
    return { descriptor: answer.descriptor, cache: answer.cache };
  }

  /** What a list of this repository names, whether or not the repository holds it. */
  async #loadEntry(upstream: Upstream, repository: Repository, digest: Digest): Promise<ManifestAnswer> {
    const known = await this.#options.store.getManifest(digest);
    if (known !== undefined) await this.#requireLink(upstream, repository, digest);
    return this.#held(upstream, repository, digest, known);
  }

  async #requireLink(upstream: Upstream, repository: Repository, digest: Digest): Promise<void> {
    await this.#options.links.require(repository, digest, {
      head: () =>
        upstream.confirmManifest(repository.name, { kind: 'digest', digest }, { identity: 'configured' }),
      absent: 'manifest-unknown',
    });
  }

  /** A manifest that this repository is known to hold; `known` if it is stored. */
  async #held(
    upstream: Upstream,
    repository: Repository,
    digest: Digest,
    known: StoredManifest | undefined,
  ): Promise<ManifestAnswer> {
    if (known === undefined) return this.#fetch(upstream, repository, { kind: 'digest', digest });
    await this.#options.links.expand(repository, known);
    this.#options.members.note(known);
    return { descriptor: descriptorOf(known), bytes: known.bytes, cache: 'hit' };
  }

  async #fetch(upstream: Upstream, repository: Repository, reference: Reference): Promise<ManifestAnswer> {
    const { promise, joined } = this.#options.fetcher.fetch(upstream, repository, reference);
    const manifest = await promise;
    this.#options.members.note(manifest);
    return {
      descriptor: descriptorOf(manifest),
      bytes: manifest.bytes,
      cache: joined ? 'collapsed' : 'stored',
    };
  }

  #refuseRemembered(repository: Repository, reference: Reference): void {
    if (!this.#options.negative.has(repository, referenceText(reference))) return;
    throw new PullError(
      'manifest-unknown',
      `${formatImageName({ repository, reference })} does not exist on ${repository.host}`,
      {
        remembered: true,
      },
    );
  }
}

/** What goes out with a list, and may be asked for next; parsed only if somebody wants to know. */
function* entriesOf(answer: ManifestAnswer): Generator<Digest, void> {
  const { content } = parseManifest(manifestOf(answer).bytes, answer.descriptor.mediaType);
  if (content.kind === 'index') for (const { digest } of content.entries) yield digest;
}

function manifestOf(answer: ManifestAnswer): StoredManifest {
  const { digest, mediaType } = answer.descriptor;
  return { digest, mediaType, bytes: answer.bytes ?? Buffer.alloc(0) };
}

function targetOf(record: TagRecord, cache: CacheStatus): Target {
  if (record.failure === undefined) return { descriptor: record.descriptor, cache };
  return {
    descriptor: record.descriptor,
    cache,
    stale: { reason: record.failure, confirmedAt: record.confirmedAt },
  };
}

/** A manifest that has just been given to a client, for those who get ready for what comes next. */
export interface ServedManifest {
  readonly upstream: Upstream;
  readonly request: ManifestRequest;
  readonly answer: ManifestAnswer;
}
