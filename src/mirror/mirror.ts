import { after, type MaybePromise, withinMs } from '../lib/promises.ts';
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
import { ANSWER_WITHIN_MS } from './answer/time-limit.ts';
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
  /** Runs the work of one request, and limits its total time at Redis. */
  readonly duringRequest: <T>(work: () => MaybePromise<T>) => MaybePromise<T>;
  /** Called with each manifest before it is sent to the client. */
  readonly onManifest: (served: ServedManifest) => void;
}

/** Answers pulls from cache or upstream. All methods throw PullError, or reject with one; any other error is a fault of this program. */
export class Mirror {
  readonly #options: MirrorOptions;

  constructor(options: MirrorOptions) {
    this.#options = options;
  }

  /**
   * The repository for a request. Its host is `namespace` (`?ns=`), else the first path component if that is a host,
   * else Docker Hub. On Docker Hub, a single component is short for `library/…`. With containerd's `override_path`, the
   * host may be in both places. Undefined if `name` is malformed. Throws PullError `repository-unknown` for a host that
   * is not in the setting `upstreams`: no connection is made to such a host.
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
      throw new PullError('repository-unknown', 'the registry is not among the upstreams of this mirror');
    }
    return { host, name: host === DOCKER_HUB && !path.includes('/') ? `library/${path}` : path };
  }

  /** At once if the answer is cached and fresh. */
  manifest(request: ManifestRequest): MaybePromise<ManifestAnswer> {
    const upstream = this.#upstream(request.repository);
    const pulled = this.#inTime(() => this.#options.manifests.pull(upstream, request), request);
    return after(pulled, (answer) => {
      this.#options.onManifest({ upstream, request, answer });
      return answer;
    });
  }

  async headBlob(
    repository: Repository,
    digest: Digest,
  ): Promise<{ readonly size: number | undefined; readonly cache: CacheStatus }> {
    const upstream = this.#upstream(repository);
    return this.#inTime(() => this.#options.blobs.head(upstream, repository, digest), { repository });
  }

  /** `client` is the client's address. */
  async openBlob(repository: Repository, digest: Digest, client: string): Promise<BlobBody> {
    const asked = { upstream: this.#upstream(repository), repository, digest, client };
    const discard = (body: BlobBody): void => body.close();
    return this.#inTime(() => this.#options.blobs.open(asked), { repository, discard });
  }

  async tags(repository: Repository, query: TagPage): Promise<TagAnswer> {
    const upstream = this.#upstream(repository);
    return this.#inTime(() => this.#options.listing.tags(upstream, repository, query), { repository });
  }

  /** All referrers of the manifest `digest`. */
  async referrers(repository: Repository, digest: Digest): Promise<ReferrersAnswer> {
    const upstream = this.#upstream(repository);
    return this.#options.duringRequest(() => this.#options.referrers.list(upstream, repository, digest));
  }

  /** Keys of the cached repositories that clients may see, in ascending order. */
  async repositories(options: CatalogQuery): Promise<string[]> {
    return this.#options.duringRequest(() => this.#options.listing.repositories(options));
  }

  /**
   * The result of `start`, within 9.5 s. One answer may need several requests to a slow upstream. Late work goes on,
   * and `discard` gets its result.
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
