import { after, type MaybePromise } from '../../lib/promises.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Manifest } from '../../oci/manifest.ts';
import type { Repository } from '../../oci/reference.ts';
import {
  type Link,
  type LocalManifestStore,
  type ManifestStore,
  type RepositoryRecord,
  type TagRecord,
  replaces,
} from '../manifests.ts';
import type { Audience, SharedStore } from '../redis/manifests.ts';

export interface Tiers {
  /** The store of this server. */
  readonly local: LocalManifestStore;
  /** The store of a fleet. Writes do not wait for it. */
  readonly shared?: SharedStore | undefined;
}

/**
 * The local store, then Redis. Redis is asked only after a local miss, and its answers are stored locally. Once
 * started, the store follows tags that other servers move.
 */
export class TieredStore implements ManifestStore {
  readonly #local: LocalManifestStore;
  readonly #shared: SharedStore | undefined;

  constructor({ local, shared }: Tiers) {
    this.#local = local;
    this.#shared = shared;
  }

  /** Call this when all parts that a move uses are built. Earlier moves are found by the next tag check. */
  start(): void {
    this.#shared?.onTagMoved(({ repository, tag, record }) => {
      // The next tag check finds the move.
      this.#follow(repository, tag, record).catch(() => undefined);
    });
  }

  getManifest(digest: Digest): MaybePromise<Manifest | undefined> {
    return (
      this.#local.getManifest(digest) ??
      this.#learn(this.#shared?.getManifest(digest), (manifest) => this.#local.putManifest(manifest))
    );
  }

  async putManifest(manifest: Manifest): Promise<void> {
    void this.#shared?.putManifest(manifest);
    await this.#local.putManifest(manifest);
  }

  getTag(repository: Repository, tag: string, notBefore = 0): MaybePromise<TagRecord | undefined> {
    const local = this.#local.getTag(repository, tag);
    const isOld = local === undefined || local.checkedAt <= notBefore;
    if (!isOld || this.#shared === undefined) return local;
    return this.#newer(this.#shared, repository, tag, local);
  }

  /**
   * A failed check is not shared: the other servers may reach upstream.
   */
  async putTag(repository: Repository, tag: string, record: TagRecord): Promise<void> {
    if (record.failure === undefined) void this.#shared?.putTag(repository, tag, record);
    await this.#local.putTag(repository, tag, record);
  }

  async deleteTag(repository: Repository, tag: string): Promise<void> {
    void this.#shared?.deleteTag(repository, tag);
    await this.#local.deleteTag(repository, tag);
  }

  getLink(repository: Repository, digest: Digest): MaybePromise<Link | undefined> {
    return (
      this.#local.getLink(repository, digest) ??
      this.#learn(this.#shared?.getLink(repository, digest, this.#audienceOf(repository)), (link) =>
        this.#local.putLinks(repository, new Map([[digest, link]])),
      )
    );
  }

  async putLinks(repository: Repository, links: ReadonlyMap<Digest, Link>): Promise<void> {
    void this.#shared?.putLinks(repository, links, this.#audienceOf(repository));
    await this.#local.putLinks(repository, links);
  }

  isOffered(repository: Repository, digest: Digest): MaybePromise<boolean> {
    if (this.#local.isOffered(repository, digest)) return true;
    return after(this.#shared?.isOffered(repository, digest) ?? false, async (isOffered) => {
      if (isOffered) await this.#local.putOffers(repository, [digest]);
      return isOffered;
    });
  }

  async putOffers(repository: Repository, digests: readonly Digest[]): Promise<void> {
    void this.#shared?.putOffers(repository, digests);
    await this.#local.putOffers(repository, digests);
  }

  getRepository(repository: Repository): MaybePromise<RepositoryRecord | undefined> {
    return (
      this.#local.getRepository(repository) ??
      this.#learn(this.#shared?.getRepository(repository), (record) =>
        this.#local.putRepository(repository, record),
      )
    );
  }

  async putRepository(repository: Repository, record: RepositoryRecord): Promise<void> {
    void this.#shared?.putRepository(repository, record);
    await this.#local.putRepository(repository, record);
  }

  async close(): Promise<void> {
    await this.#shared?.close();
    await this.#local.close();
  }

  /** Takes over the move of another server, if the tag is cached here. */
  async #follow(repository: Repository, tag: string, record: TagRecord): Promise<void> {
    const local = this.#local.getTag(repository, tag);
    if (local === undefined || !(await this.#isNews(repository, record, local))) return;
    await this.#local.putTag(repository, tag, record);
  }

  async #newer(
    shared: SharedStore,
    repository: Repository,
    tag: string,
    local: TagRecord | undefined,
  ): Promise<TagRecord | undefined> {
    const remote = await shared.getTag(repository, tag);
    if (remote === undefined || !(await this.#isNews(repository, remote, local))) return local;
    await this.#local.putTag(repository, tag, remote);
    return remote;
  }

  /**
   * Whether `remote` is newer and can be served. A tag moves only to a manifest that is linked to its repository and
   * cached here, so that the tag stays servable.
   */
  async #isNews(repository: Repository, remote: TagRecord, local: TagRecord | undefined): Promise<boolean> {
    if (local === undefined) return true;
    if (replaces(local, remote)) return false;
    const { digest } = remote.descriptor;
    if (digest === local.descriptor.digest) return true;
    const link = await this.getLink(repository, digest);
    return link !== undefined && (await this.getManifest(digest)) !== undefined;
  }

  /** From the local record only: another server must not declare a repository public. */
  #audienceOf(repository: Repository): Audience {
    return this.#local.getRepository(repository)?.restricted === true ? 'restricted' : 'public';
  }

  #learn<T>(
    told: MaybePromise<T | undefined>,
    keep: (value: T) => Promise<void>,
  ): MaybePromise<T | undefined> {
    return after(told, (value) => (value === undefined ? undefined : keep(value).then(() => value)));
  }
}
