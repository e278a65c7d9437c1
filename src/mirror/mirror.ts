import { type MaybePromise, withinMs } from '../lib/promises.ts';
import type { Digest } from '../oci/digest.ts';
import { DOCKER_HUB, isRepositoryName, registryHost, type Repository } from '../oci/reference.ts';
import type { TagPage } from '../oci/tag-page.ts';
import type { Upstream } from '../upstream/upstream.ts';
import type {
  BlobBody,
  CacheStatus,
  CatalogQuery,
  TagAnswer,
  ManifestAnswer,
  ManifestRequest,
  ReferrersAnswer,
} from './answer/answers.ts';
import { PullError } from './answer/errors.ts';
import type { BlobPuller } from './blob/blobs.ts';
import type { Listing } from './lists/listing.ts';
import type { Referrers } from './lists/referrers.ts';
import type { ManifestPuller, ServedManifest } from './manifest/manifests.ts';

export interface MirrorOptions {
  readonly upstreams: ReadonlyMap<string, Upstream>;
  readonly manifests: ManifestPuller;
  readonly blobs: BlobPuller;
  readonly listing: Listing;
  readonly referrers: Referrers;
  /** Runs all work of one request: what that waits for in a store that may be slow can be limited by it. */
  readonly duringRequest: <T>(work: () => MaybePromise<T>) => MaybePromise<T>;
  /** Told of what clients get, before they have it. */
  readonly onManifest: (served: ServedManifest) => void;
}

/** Clients without time limits wait for ever, those with some for 10 to 30 s. */
const ANSWER_WITHIN_MS = 9500;

/** What the product does, for whoever speaks to clients. All methods throw PullError, and nothing else on purpose. */
export class Mirror {
  readonly #options: MirrorOptions;

  constructor(options: MirrorOptions) {
    this.#options = options;
  }

  /**
   * Which repository a client means: by `namespace` (`?ns=`), else by a first path component that is a host, else at
   * Docker Hub, where a single component is short for `library/…`. A mirror that clients reach by a path gets both, and
   * the same registry twice is that registry (containerd, `override_path`). Undefined if `name` is not by the grammar.
   * Throws PullError `repository-unknown` for hosts that are not configured: they are never dialled.
   */
  locate(name: string, namespace: string | undefined): Repository | undefined {
    const slash = name.indexOf('/');
    const first = slash < 0 ? '' : name.slice(0, slash);
    const named = namespace === undefined ? undefined : registryHost(namespace);
    const isHost =
      named === undefined
        ? /[.:]/.test(first) || this.#options.upstreams.has(first)
        : registryHost(first) === named;
    const host = named ?? (isHost ? registryHost(first) : DOCKER_HUB);
    const path = isHost ? name.slice(slash + 1) : name;
    if (!isRepositoryName(path)) return undefined;
    if (!this.#options.upstreams.has(host)) {
      throw new PullError('repository-unknown', 'that registry is not among the upstreams of this mirror');
    }
    return { host, name: host === DOCKER_HUB && !path.includes('/') ? `library/${path}` : path };
  }

  async manifest(request: ManifestRequest): Promise<ManifestAnswer> {
    const upstream = this.#upstream(request.repository);
    const pulled = this.#inTime(() => this.#options.manifests.pull(upstream, request), request);
    const answer = pulled instanceof Promise ? await pulled : pulled;
    this.#options.onManifest({ upstream, request, answer });
    return answer;
  }

  async headBlob(
    repository: Repository,
    digest: Digest,
  ): Promise<{ readonly size: number | undefined; readonly cache: CacheStatus }> {
    const upstream = this.#upstream(repository);
    return this.#inTime(() => this.#options.blobs.head(upstream, repository, digest), { repository });
  }

  /** `client` is the address of who asks. */
  async openBlob(repository: Repository, digest: Digest, client: string): Promise<BlobBody> {
    const asked = { upstream: this.#upstream(repository), repository, digest, client };
    const discard = (body: BlobBody): void => body.close();
    return this.#inTime(() => this.#options.blobs.open(asked), { repository, discard });
  }

  async tags(repository: Repository, query: TagPage): Promise<TagAnswer> {
    const upstream = this.#upstream(repository);
    return this.#inTime(() => this.#options.listing.tags(upstream, repository, query), { repository });
  }

  /** What refers to the manifest `digest`, not filtered. */
  async referrers(repository: Repository, digest: Digest): Promise<ReferrersAnswer> {
    const upstream = this.#upstream(repository);
    return this.#options.duringRequest(() => this.#options.referrers.list(upstream, repository, digest));
  }

  /** Cached repositories that may be shown, by key, in ascending order. */
  async repositories(options: CatalogQuery): Promise<string[]> {
    return this.#options.duringRequest(() => this.#options.listing.repositories(options));
  }

  /**
   * What `work` comes to, if it does before clients lose patience; it goes on behind their backs, and what comes too
   * late is discarded. Several questions to a slow upstream may be needed for one answer.
   */
  #inTime<T>(
    start: () => MaybePromise<T>,
    context: { readonly repository: Repository; readonly discard?: (value: T) => void },
  ): MaybePromise<T> {
    const work = this.#options.duringRequest(start);
    return work instanceof Promise ? this.#unlessLate(work, context) : work;
  }

  async #unlessLate<T>(
    work: Promise<T>,
    context: { readonly repository: Repository; readonly discard?: (value: T) => void },
  ): Promise<T> {
    const result = await withinMs(
      work.then((value) => ({ value })),
      ANSWER_WITHIN_MS,
    );
    if (result !== undefined) return result.value;
    work.then(context.discard, () => undefined);
    const { host } = context.repository;
    throw new PullError(
      'unavailable',
      `there was no answer from ${host} within ${ANSWER_WITHIN_MS / 1000} s`,
    );
  }

  #upstream(repository: Repository): Upstream {
    const upstream = this.#options.upstreams.get(repository.host);
    if (upstream === undefined)
      throw new PullError(
        'repository-unknown',
        `${repository.host} is not among the upstreams of this mirror`,
      );
    return upstream;
  }
}
