import { DOCKER_HUB, isRepositoryName, type Repository } from '../oci/reference.ts';
import type { Digest } from '../oci/digest.ts';
import type { Upstream } from '../upstream/upstream.ts';
import type { BlobBody } from './blob-body.ts';
import type { BlobPuller } from './blob-puller.ts';
import type { CacheStatus } from './cache-status.ts';
import type { Listing, PageQuery, TagAnswer } from './listing.ts';
import type { ManifestAnswer, ManifestPuller, ManifestRequest } from './manifest-puller.ts';
import { PullError } from './pull-error.ts';

/** Other names of Docker Hub's registry, as clients spell them in `ns`. */
const DOCKER_HUB_ALIASES: ReadonlySet<string> = new Set(['registry-1.docker.io', 'index.docker.io']);

export interface PullServiceOptions {
  readonly upstreams: ReadonlyMap<string, Upstream>;
  readonly manifests: ManifestPuller;
  readonly blobs: BlobPuller;
  readonly listing: Listing;
}

/** What the product does, for whoever speaks to clients. All methods throw PullError, and nothing else on purpose. */
export class PullService {
  readonly #options: PullServiceOptions;

  constructor(options: PullServiceOptions) {
    this.#options = options;
  }

  /**
   * Which repository a client means: by `namespace` (`?ns=`), else by a first path component that is a host, else at
   * Docker Hub, where a single component is short for `library/…`. Undefined if `name` is not by the grammar.
   * Throws PullError `repository-unknown` for hosts that are not configured: they are never dialled.
   */
  locate(name: string, namespace: string | undefined): Repository | undefined {
    const slash = name.indexOf('/');
    const first = slash < 0 ? '' : name.slice(0, slash);
    const isHost = namespace === undefined && (/[.:]/.test(first) || this.#options.upstreams.has(first));
    const host = canonicalHost(namespace ?? (isHost ? first : DOCKER_HUB));
    const path = isHost ? name.slice(slash + 1) : name;
    if (!isRepositoryName(path)) return undefined;
    if (!this.#options.upstreams.has(host)) {
      throw new PullError('repository-unknown', 'that registry is not among the upstreams of this mirror');
    }
    return { host, name: host === DOCKER_HUB && !path.includes('/') ? `library/${path}` : path };
  }

  manifest(request: ManifestRequest): Promise<ManifestAnswer> {
    return this.#options.manifests.pull(this.#upstream(request.repository), request);
  }

  headBlob(
    repository: Repository,
    digest: Digest,
  ): Promise<{ readonly size: number | undefined; readonly cache: CacheStatus }> {
    return this.#options.blobs.head(this.#upstream(repository), repository, digest);
  }

  /** `client` is the address of who asks. */
  openBlob(repository: Repository, digest: Digest, client: string): Promise<BlobBody> {
    return this.#options.blobs.open({ upstream: this.#upstream(repository), repository, digest, client });
  }

  tags(repository: Repository, query: PageQuery): Promise<TagAnswer> {
    return this.#options.listing.tags(this.#upstream(repository), repository, query);
  }

  /** Cached repositories that may be shown, by key, in ascending order. */
  repositories(options: { after?: string; limit: number }): Promise<string[]> {
    return this.#options.listing.repositories(options);
  }

  #upstream(repository: Repository): Upstream {
    const upstream = this.#options.upstreams.get(repository.host);
    if (upstream === undefined) throw new PullError('repository-unknown', 'no such upstream');
    return upstream;
  }
}

function canonicalHost(host: string): string {
  const lower = host.toLowerCase();
  return DOCKER_HUB_ALIASES.has(lower) ? DOCKER_HUB : lower;
}
