import type { TagScope } from '../../mirror/access/rules.ts';
import { PullError } from '../../mirror/answer/errors.ts';
import type { BlobPuller } from '../../mirror/blob/blobs.ts';
import type { ManifestFetcher } from '../../mirror/manifest/fetch.ts';
import type { Digest } from '../../oci/digest.ts';
import { parseRepositoryKey, type Repository } from '../../oci/reference.ts';
import type { Catalog, ManifestStore } from '../../store/manifests.ts';
import type { Upstream } from '../../upstream/upstream.ts';
import type { Whereabouts } from '../protocol.ts';

export interface ContentRepairOptions {
  readonly catalog: Catalog;
  readonly store: ManifestStore;
  readonly upstreams: ReadonlyMap<string, Upstream>;
  readonly fetcher: ManifestFetcher;
  readonly scope: TagScope;
  readonly blobs: BlobPuller;
}

export interface Repair {
  /** Why the download failed, for people; undefined: the content is cached again. */
  readonly failure?: string;
}

const PAGE = 1000;

/** Downloads lost content again, from a repository with a link to the digest. */
export class ContentRepair {
  readonly #options: ContentRepairOptions;

  constructor(options: ContentRepairOptions) {
    this.#options = options;
  }

  /** Number of running downloads, those for clients included. */
  get fillsRunning(): number {
    return this.#options.blobs.running;
  }

  /** The repositories and images of a digest, for people. */
  async whereabouts(digest: Digest): Promise<Whereabouts> {
    const { catalog } = this.#options;
    return { repositories: await this.holders(digest), images: await catalog.listImagesOf(digest) };
  }

  /** Keys of the repositories with a link to the digest, in ascending order. */
  async holders(digest: Digest): Promise<string[]> {
    const { catalog, store } = this.#options;
    const holders: string[] = [];
    let after: string | undefined;
    for (;;) {
      const keys = await catalog.listRepositories({
        limit: PAGE,
        after,
      });
      for (const key of keys) {
        if ((await store.getLink(parseRepositoryKey(key), digest)) !== undefined) holders.push(key);
      }
      if (keys.length < PAGE) return holders;
      after = keys.at(-1);
    }
  }

  /** Uses the same fill as clients, so no blob is downloaded twice. */
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
    let failure = 'no cached repository has it';
    for (const key of await this.holders(digest)) {
      const repository = parseRepositoryKey(key);
      const upstream = this.#options.upstreams.get(repository.host);
      if (upstream === undefined) {
        failure = `${repository.host} is no longer an upstream`;
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
