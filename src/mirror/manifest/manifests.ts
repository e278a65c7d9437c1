import { after, type MaybePromise } from '../../lib/promises.ts';
import type { Digest } from '../../oci/digest.ts';
import { formatImageName } from '../../oci/image-name.ts';
import { parseManifest, type Descriptor, type Manifest } from '../../oci/manifest.ts';
import { isIndexType } from '../../oci/media-types.ts';
import { referenceText, type Reference, type Repository } from '../../oci/reference.ts';
import type { ImageUsage, Link, ManifestStore, TagRecord } from '../../store/manifests.ts';
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
  readonly earlyChecks: EarlyChecks;
  readonly negative: NegativeCache;
  readonly resolver: PlatformResolver;
  readonly usage: ImageUsage;
  readonly missingBlobs: MissingBlobs;
  readonly entries: IndexEntries;
}

type How = Pick<ManifestAnswer, 'cache' | 'stale'>;

/** Serves manifests from cache or upstream. By tag, it picks the manifest that fits the client. */
export class ManifestPuller {
  readonly #options: ManifestPullerOptions;

  constructor(options: ManifestPullerOptions) {
    this.#options = options;
  }

  /** At once if the answer is cached and fresh. Throws PullError, or rejects with one. */
  pull(upstream: Upstream, request: ManifestRequest & { readonly headOnly: true }): MaybePromise<HeadAnswer>;
  pull(upstream: Upstream, request: ManifestRequest & { readonly headOnly: false }): MaybePromise<GetAnswer>;
  pull(upstream: Upstream, request: ManifestRequest): MaybePromise<ManifestAnswer>;
  pull(upstream: Upstream, request: ManifestRequest): MaybePromise<ManifestAnswer> {
    const { repository, reference } = request;
    const admitted = this.#options.access.admit(upstream, repository, { kind: 'manifest', reference });
    return after(admitted, () => {
      const found =
        reference.kind === 'digest'
          ? this.#byDigest(upstream, request, reference.digest)
          : this.#byTag(upstream, request, reference.tag);
      return after(found, (answer) => this.#given(upstream, request, answer));
    });
  }

  #given(upstream: Upstream, request: ManifestRequest, answer: ManifestAnswer): MaybePromise<ManifestAnswer> {
    const { repository, headOnly } = request;
    const given = headOnly ? headOf(answer) : answer;
    const hasNoRules = this.#options.access.scope.allowsAll(repository);
    if (hasNoRules) return this.#served(upstream, repository, given);
    return this.#offer(request, given).then(() => this.#served(upstream, repository, given));
  }

  #served(upstream: Upstream, repository: Repository, given: ManifestAnswer): MaybePromise<ManifestAnswer> {
    if ('head' in given) return given;
    const { missingBlobs, usage } = this.#options;
    return after(missingBlobs.require(upstream, repository, given.manifest), () => {
      usage.touch(given.manifest.descriptor);
      return given;
    });
  }

  /** The client may ask next for the digests in its answer. */
  async #offer({ repository, reference }: ManifestRequest, given: ManifestAnswer): Promise<void> {
    const { scope } = this.#options.access;
    if (reference.kind === 'tag') await scope.offer(repository, [descriptorOf(given).digest]);
    if ('manifest' in given) await scope.offer(repository, entriesOf(given.manifest));
  }

  #byDigest(upstream: Upstream, request: ManifestRequest, digest: Digest): MaybePromise<ManifestAnswer> {
    const { repository } = request;
    return after(this.#options.store.getManifest(digest), (manifest) => {
      if (manifest === undefined) return this.#unseen(upstream, request, { kind: 'digest', digest });
      return this.#linked(upstream, repository, manifest);
    });
  }

  #byTag(upstream: Upstream, request: ManifestRequest, tag: string): MaybePromise<ManifestAnswer> {
    const { repository, client, headOnly } = request;
    return after(this.#proven(upstream, request, tag), (named) => {
      const isTaken = this.#options.resolver.takes(client, descriptorOf(named).mediaType);
      if (!isTaken) return this.#chosen(upstream, request, named);
      return headOnly ? named : this.#complete(upstream, repository, named);
    });
  }

  /** Picks the client's manifest from the index of a tag. */
  async #chosen(
    upstream: Upstream,
    { repository, client, headOnly }: ManifestRequest,
    named: ManifestAnswer,
  ): Promise<ManifestAnswer> {
    const { resolver, store } = this.#options;
    const { mediaType } = descriptorOf(named);
    if (!isIndexType(mediaType)) resolver.requireAccepted(client, mediaType);
    const index = await this.#complete(upstream, repository, named);
    const entry = await resolver.choose(client, index.manifest, async (nested) => {
      const { manifest } = await this.#entry(upstream, repository, nested.digest);
      return manifest;
    });
    const fromIndex = { index: index.manifest.descriptor.digest };
    if (headOnly) {
      const stored = await store.getManifest(entry.digest);
      if (stored !== undefined) await this.#requireLink(upstream, repository, entry.digest);
      const { digest, size } = entry;
      const head = stored?.descriptor ?? { digest, mediaType: entry.mediaType, size };
      return { ...headAnswer(head, named), ...fromIndex };
    }
    const { manifest, cache } = await this.#entry(upstream, repository, entry.digest);
    // The index may state a wrong media type.
    resolver.requireAccepted(client, manifest.descriptor.mediaType);
    return { ...getAnswer(manifest, named), ...fromIndex, ...(cache === 'hit' ? {} : { cache }) };
  }

  /**
   * The current manifest of the tag, or its descriptor if it is not cached. The repository must hold the manifest: tags
   * also come from Redis, and a forged one may name a manifest of another repository.
   */
  #proven(upstream: Upstream, request: ManifestRequest, tag: string): MaybePromise<ManifestAnswer> {
    return after(this.#named(upstream, request, tag), (named) => {
      if ('manifest' in named) return named;
      // Of upstream's HEAD, only the digest is trusted.
      return after(this.#options.store.getManifest(named.head.digest), (manifest) => {
        if (manifest === undefined) return named;
        const proven = getAnswer(manifest, named);
        const link = this.#requireLink(upstream, request.repository, named.head.digest);
        return link instanceof Promise ? this.#confirmed(upstream, request, { tag, proven, link }) : proven;
      });
    });
  }

  /** `proven` if upstream confirms the link; else the tag is fetched again. */
  async #confirmed(
    upstream: Upstream,
    request: ManifestRequest,
    { tag, proven, link }: { readonly tag: string; readonly proven: GetAnswer; readonly link: Promise<Link> },
  ): Promise<ManifestAnswer> {
    try {
      await link;
      return proven;
    } catch (error) {
      const isNo = error instanceof PullError && error.code !== 'unavailable' && !error.noStore;
      if (!isNo) throw error;
    }
    await this.#options.store.deleteTag(request.repository, tag);
    return this.#unseen(upstream, request, { kind: 'tag', tag });
  }

  /** The descriptor of the tag: from the cache if fresh, else after a tag check. */
  #named(upstream: Upstream, request: ManifestRequest, tag: string): MaybePromise<ManifestAnswer> {
    const { store, freshness, earlyChecks } = this.#options;
    const { repository } = request;
    earlyChecks.asked(upstream, repository, tag);
    const freshSince = freshness.freshSince(repository, tag);
    return after(store.getTag(repository, tag, freshSince), (record) => {
      if (record === undefined) return this.#unseen(upstream, request, { kind: 'tag', tag });
      if (record.checkedAt <= freshSince) return this.#checked(upstream, request, tag, record);
      return namedBy(record, record.failure === undefined ? 'hit' : 'stale');
    });
  }

  async #checked(
    upstream: Upstream,
    request: ManifestRequest,
    tag: string,
    old: TagRecord,
  ): Promise<ManifestAnswer> {
    const { store, freshness } = this.#options;
    // A stale tag whose manifest was never fetched is of no use.
    if ((await store.getManifest(old.descriptor.digest)) === undefined) {
      return this.#unseen(upstream, request, { kind: 'tag', tag });
    }
    const { record, how } = await freshness.check(upstream, request.repository, tag, old);
    return namedBy(record, how);
  }

  async #unseen(upstream: Upstream, request: ManifestRequest, reference: Reference): Promise<ManifestAnswer> {
    const { repository, headOnly } = request;
    this.#refuseRemembered(repository, reference);
    const head = headOnly ? await this.#options.heads.head(upstream, repository, reference) : undefined;
    return head === undefined ? this.#fetch(upstream, repository, reference) : { head, cache: 'miss' };
  }

  /** The manifest of an index entry, if the repository holds it. */
  async #entry(upstream: Upstream, repository: Repository, digest: Digest): Promise<GetAnswer> {
    const manifest = await this.#options.store.getManifest(digest);
    if (manifest === undefined) return this.#fetch(upstream, repository, { kind: 'digest', digest });
    return this.#linked(upstream, repository, manifest);
  }

  #linked(upstream: Upstream, repository: Repository, manifest: Manifest): MaybePromise<GetAnswer> {
    const { digest } = manifest.descriptor;
    const answer: GetAnswer = { manifest, cache: 'hit' };
    return after(this.#requireLink(upstream, repository, digest), ({ withBlobs }) =>
      withBlobs === true ? this.#noted(answer) : this.#complete(upstream, repository, answer),
    );
  }

  #requireLink(upstream: Upstream, repository: Repository, digest: Digest): MaybePromise<Link> {
    return this.#options.links.require(repository, digest, {
      head: () =>
        upstream.confirmManifest(repository.name, { kind: 'digest', digest }, { identity: 'configured' }),
      absent: 'manifest-unknown',
    });
  }

  /** `answer` with its manifest, which this repository holds. */
  #complete(upstream: Upstream, repository: Repository, answer: ManifestAnswer): MaybePromise<GetAnswer> {
    if ('head' in answer) {
      const fetched = this.#fetch(upstream, repository, { kind: 'digest', digest: answer.head.digest });
      return fetched.then(({ manifest, cache }) => getAnswer(manifest, { cache, stale: answer.stale }));
    }
    return after(this.#options.links.expand(repository, answer.manifest), () => this.#noted(answer));
  }

  #noted(answer: GetAnswer): GetAnswer {
    this.#options.entries.note(answer.manifest);
    return answer;
  }

  async #fetch(upstream: Upstream, repository: Repository, reference: Reference): Promise<GetAnswer> {
    const { promise, joined } = this.#options.fetcher.fetch(upstream, repository, reference);
    const manifest = await promise;
    this.#options.entries.note(manifest);
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

/** The digests in an index. A generator, so that the index is parsed only if they are needed. */
function* entriesOf({ descriptor, bytes }: Manifest): Generator<Digest, void> {
  const { content } = parseManifest(bytes, descriptor.mediaType);
  if (content.kind === 'index') for (const { digest } of content.entries) yield digest;
}

function headOf(answer: ManifestAnswer): HeadAnswer {
  return 'head' in answer ? answer : headAnswer(answer.manifest.descriptor, answer);
}

function headAnswer(head: Descriptor, { cache, stale }: How): HeadAnswer {
  return { head, cache, stale };
}

function getAnswer(manifest: Manifest, { cache, stale }: How): GetAnswer {
  return { manifest, cache, stale };
}

function namedBy({ descriptor, failure, confirmedAt }: TagRecord, cache: CacheStatus): HeadAnswer {
  const stale = failure === undefined ? undefined : { reason: failure, confirmedAt };
  return headAnswer(descriptor, { cache, stale });
}

/** A manifest for a client, as prefetch, history and statistics get it. */
export interface ServedManifest {
  readonly upstream: Upstream;
  readonly request: ManifestRequest;
  readonly answer: ManifestAnswer;
}
