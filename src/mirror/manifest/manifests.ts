import type { Digest } from '../../oci/digest.ts';
import { formatImageName } from '../../oci/image-name.ts';
import { parseManifest, type Manifest } from '../../oci/manifest.ts';
import { isIndexType } from '../../oci/media-types.ts';
import { referenceText, type Reference, type Repository } from '../../oci/reference.ts';
import type { ImageUsage, ManifestStore, TagRecord } from '../../store/manifests.ts';
import type { Upstream } from '../../upstream/upstream.ts';
import type { RepositoryAccess } from '../access/access.ts';
import type { ContentLinks } from '../access/links.ts';
import {
  descriptorOf,
  type CacheStatus,
  type GetAnswer,
  type HeadAnswer,
  type ManifestAnswer,
  type ManifestRequest,
  type Staleness,
} from '../answer/answers.ts';
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

/** Serves manifests: from the cache when it can, from upstream when it must, fitted to the client by tag only. */
export class ManifestPuller {
  readonly #options: ManifestPullerOptions;

  constructor(options: ManifestPullerOptions) {
    this.#options = options;
  }

  /** Throws PullError. */
  pull(upstream: Upstream, request: ManifestRequest & { readonly headOnly: true }): Promise<HeadAnswer>;
  pull(upstream: Upstream, request: ManifestRequest & { readonly headOnly: false }): Promise<GetAnswer>;
  pull(upstream: Upstream, request: ManifestRequest): Promise<ManifestAnswer>;
  async pull(upstream: Upstream, request: ManifestRequest): Promise<ManifestAnswer> {
    const { access, missingBlobs, usage } = this.#options;
    const { repository, reference, headOnly } = request;
    await access.admit(upstream, repository, { kind: 'manifest', reference });
    const answer =
      reference.kind === 'digest'
        ? await this.#byDigest(upstream, request, reference.digest)
        : await this.#byTag(upstream, request, reference.tag);
    if (reference.kind === 'tag') await access.scope.offer(repository, [descriptorOf(answer).digest]);
    if (headOnly || 'head' in answer) return headOf(answer);
    await access.scope.offer(repository, entriesOf(answer.manifest));
    await missingBlobs.require(upstream, repository, answer.manifest);
    usage.touch(answer.manifest.descriptor.digest);
    return answer;
  }

  async #byDigest(upstream: Upstream, request: ManifestRequest, digest: Digest): Promise<ManifestAnswer> {
    const { repository } = request;
    const stored = await this.#options.store.getManifest(digest);
    if (stored !== undefined) {
      await this.#requireLink(upstream, repository, digest);
      return this.#complete(upstream, repository, { manifest: stored, cache: 'hit' });
    }
    return this.#unseen(upstream, request, { kind: 'digest', digest });
  }

  async #byTag(upstream: Upstream, request: ManifestRequest, tag: string): Promise<ManifestAnswer> {
    const { repository, client, headOnly } = request;
    const { resolver, store } = this.#options;
    const named = await this.#proven(upstream, request, tag);
    const { mediaType } = descriptorOf(named);
    if (resolver.takes(client, mediaType)) {
      return headOnly ? named : this.#complete(upstream, repository, named);
    }
    if (!isIndexType(mediaType)) resolver.requireAccepted(client, mediaType);
    const list = await this.#complete(upstream, repository, named);
    const entry = await resolver.choose(client, list.manifest, (nested) =>
      this.#entry(upstream, repository, nested.digest).then(({ manifest }) => manifest),
    );
    const chosen = { cache: named.cache, ...staleness(named), list: list.manifest.descriptor.digest };
    if (headOnly) {
      const stored = await store.getManifest(entry.digest);
      if (stored !== undefined) await this.#requireLink(upstream, repository, entry.digest);
      const { digest, size } = entry;
      return { ...chosen, head: stored?.descriptor ?? { digest, mediaType: entry.mediaType, size } };
    }
    const { manifest, cache } = await this.#entry(upstream, repository, entry.digest);
    // The list may have been wrong about the type.
    resolver.requireAccepted(client, manifest.descriptor.mediaType);
    return { ...chosen, manifest, cache: cache === 'hit' ? named.cache : cache };
  }

  /**
   * What the tag names, with the manifest if that is stored and the repository is known to hold it: records of tags are
   * shared with whoever can write to Redis, and may name what is of another repository.
   */
  async #proven(upstream: Upstream, request: ManifestRequest, tag: string): Promise<ManifestAnswer> {
    const { store } = this.#options;
    const { repository } = request;
    const named = await this.#named(upstream, request, tag);
    if ('manifest' in named) return named;
    // Upstream's HEAD may have been wrong about all but the digest.
    const manifest = await store.getManifest(named.head.digest);
    if (manifest === undefined) return named;
    try {
      await this.#requireLink(upstream, repository, named.head.digest);
      return { cache: named.cache, ...staleness(named), manifest };
    } catch (error) {
      const isNo = error instanceof PullError && error.code !== 'unavailable' && !error.noStore;
      if (!isNo) throw error;
    }
    await store.deleteTag(repository, tag);
    return this.#unseen(upstream, request, { kind: 'tag', tag });
  }

  /** What the tag names: by what is remembered if that is fresh, by asking upstream if not. */
  async #named(upstream: Upstream, request: ManifestRequest, tag: string): Promise<ManifestAnswer> {
    const { store, freshness, watch } = this.#options;
    const { repository } = request;
    watch.asked(upstream, repository, tag);
    const record = await store.getTag(repository, tag, freshness.freshSince(repository, tag));
    if (record === undefined) return this.#unseen(upstream, request, { kind: 'tag', tag });
    const fresh = freshness.isFresh(repository, tag, record);
    // What only a HEAD told, and nobody fetched since, is of no use once it is old.
    if (!fresh && (await store.getManifest(record.descriptor.digest)) === undefined) {
      return this.#unseen(upstream, request, { kind: 'tag', tag });
    }
    const current = await freshness.current(upstream, repository, tag, record);
    return namedBy(current.record, current.how === 'fresh' ? 'hit' : current.how);
  }

  async #unseen(upstream: Upstream, request: ManifestRequest, reference: Reference): Promise<ManifestAnswer> {
    const { repository, headOnly } = request;
    this.#refuseRemembered(repository, reference);
    const head = headOnly ? await this.#options.heads.head(upstream, repository, reference) : undefined;
    return head === undefined ? this.#fetch(upstream, repository, reference) : { head, cache: 'miss' };
  }

  /** What a list of this repository names, whether or not the repository holds it. */
  async #entry(upstream: Upstream, repository: Repository, digest: Digest): Promise<GetAnswer> {
    const manifest = await this.#options.store.getManifest(digest);
    if (manifest === undefined) return this.#fetch(upstream, repository, { kind: 'digest', digest });
    await this.#requireLink(upstream, repository, digest);
    return this.#complete(upstream, repository, { manifest, cache: 'hit' });
  }

  async #requireLink(upstream: Upstream, repository: Repository, digest: Digest): Promise<void> {
    await this.#options.links.require(repository, digest, {
      head: () =>
        upstream.confirmManifest(repository.name, { kind: 'digest', digest }, { identity: 'configured' }),
      absent: 'manifest-unknown',
    });
  }

  /** `answer` with its manifest, which this repository is known to hold. */
  async #complete(upstream: Upstream, repository: Repository, answer: ManifestAnswer): Promise<GetAnswer> {
    if ('head' in answer) {
      const { digest } = answer.head;
      const fetched = await this.#fetch(upstream, repository, { kind: 'digest', digest });
      return { ...staleness(answer), ...fetched };
    }
    await this.#options.links.expand(repository, answer.manifest);
    this.#options.members.note(answer.manifest);
    return answer;
  }

  async #fetch(upstream: Upstream, repository: Repository, reference: Reference): Promise<GetAnswer> {
    const { promise, joined } = this.#options.fetcher.fetch(upstream, repository, reference);
    const manifest = await promise;
    this.#options.members.note(manifest);
    return { manifest, cache: joined ? 'collapsed' : 'stored' };
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
function* entriesOf({ descriptor, bytes }: Manifest): Generator<Digest, void> {
  const { content } = parseManifest(bytes, descriptor.mediaType);
  if (content.kind === 'index') for (const { digest } of content.entries) yield digest;
}

function headOf(answer: ManifestAnswer): HeadAnswer {
  if ('head' in answer) return answer;
  const { manifest, ...how } = answer;
  return { ...how, head: manifest.descriptor };
}

function namedBy({ descriptor, failure, confirmedAt }: TagRecord, cache: CacheStatus): HeadAnswer {
  return {
    head: descriptor,
    cache,
    ...(failure === undefined ? {} : { stale: { reason: failure, confirmedAt } }),
  };
}

function staleness({ stale }: ManifestAnswer): { readonly stale?: Staleness } {
  return stale === undefined ? {} : { stale };
}

/** A manifest that has just been given to a client, for those who get ready for what comes next. */
export interface ServedManifest {
  readonly upstream: Upstream;
  readonly request: ManifestRequest;
  readonly answer: ManifestAnswer;
}
