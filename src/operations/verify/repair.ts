import type { TagScope } from '../../mirror/access/rules.ts';
import { PullError } from '../../mirror/answer/errors.ts';
import type { BlobPuller } from '../../mirror/blob/blobs.ts';
import type { ManifestFetcher } from '../../mirror/manifest/fetch.ts';
import type { Digest } from '../../oci/digest.ts';
import { parseRepositoryKey, type Repository } from '../../oci/reference.ts';
import type { Catalogue, ManifestStore } from '../../store/manifests.ts';
import type { Upstream } from '../../upstream/upstream.ts';
import type { Whereabouts } from '../protocol.ts';

export interface ContentRepairOptions {
  readonly catalogue: Catalogue;
  readonly store: ManifestStore;
  readonly upstreams: ReadonlyMap<string, Upstream>;
  readonly fetcher: ManifestFetcher;
  readonly scope: TagScope;
  readonly blobs: BlobPuller;
}

/** Absent: it is there again, and right. */
export interface Repair {
  /** Why it could not be had, for people. */
  readonly failure?: string;
}

const PAGE = 1000;

/** Fetches anew what was lost, through a repository that is known to hold it. */
export class ContentRepair {
  readonly #options: ContentRepairOptions;

  constructor(options: ContentRepairOptions) {
    this.#options = options;
  }

  /** Transfers from upstream that are under way, whoever asked for them. */
  get fillsRunning(): number {
    return this.#options.blobs.running;
  }

  /** What people know it by. */
  async whereabouts(digest: Digest): Promise<Whereabouts> {
    const { catalogue } = this.#options;
    return { repositories: await this.holders(digest), images: await catalogue.listImagesOf(digest) };
  }

  /** Keys of the repositories with a link to the digest, in ascending order. */
  async holders(digest: Digest): Promise<string[]> {
    const { catalogue, store } = this.#options;
    const holders: string[] = [];
    let after: string | undefined;
    for (;;) {
      const keys = await catalogue.listRepositories({
        limit: PAGE,
        ...(after === undefined ? {} : { after }),
      });
      for (const key of keys) {
        if ((await store.getLink(parseRepositoryKey(key), digest)) !== undefined) holders.push(key);
      }
      if (keys.length < PAGE) return holders;
      after = keys.at(-1);
    }
  }

  /** By the fill that every client uses, so that nothing is fetched twice and clients join it. */
  blob(digest: Digest): Promise<Repair> {
    return this.#throughAnyHolder(digest, async (upstream, repository) => {
      await this.#options.blobs.restore({ upstream, repository, digest, client: 'repair' });
    });
  }

  manifest(digest: Digest): Promise<Repair> {
    return this.#throughAnyHolder(digest, async (upstream, repository) => {
      await this.#options.fetcher.fetch(upstream, repository, { kind: 'digest', digest }).promise;
    });
  }

  async #throughAnyHolder(
    digest: Digest,
    fetch: (upstream: Upstream, repository: Repository) => Promise<void>,
  ): Promise<Repair> {
    let failure = 'no repository is known to hold it';
    for (const key of await this.holders(digest)) {
      const repository = parseRepositoryKey(key);
      const upstream = this.#options.upstreams.get(repository.host);
      if (upstream === undefined) {
        failure = `${repository.host} is no longer among the upstreams`;
        continue;
      }
      try {
        await this.#options.scope.require(repository, { kind: 'digest', digest });
        await fetch(upstream, repository);
        return {};
      } catch (error) {
        if (!(error instanceof PullError)) throw error;
        failure = error.message;
      }
    }
    return { failure };
  }
}
