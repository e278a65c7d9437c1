import { CLOCK_SKEW_MS } from '../../lib/clock.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Manifest } from '../../oci/manifest.ts';
import type { Repository } from '../../oci/reference.ts';
import {
  type Link,
  type ManifestStore,
  type Remembered,
  type RepositoryRecord,
  type TagRecord,
  replaces,
} from '../manifests.ts';
import type { Audience, SharedStore } from '../redis/manifests.ts';
import type { MemoryStore } from './local.ts';

export interface Tiers {
  /** Fast and forgetful. */
  readonly memory: MemoryStore;
  /** What survives a restart, and a flushed Redis. */
  readonly embedded: ManifestStore;
  /** What a fleet shares. Never waited for when writing. */
  readonly shared?: SharedStore;
  /** Ms since the epoch; default the clock. */
  readonly now?: () => number;
}

/**
 * Memory before the embedded store before Redis: the first that knows answers, and the faster ones learn it. It follows
 * the moves of tags that others tell of once it is started.
 */
export function createTieredStore(tiers: Tiers): TieredStore {
  return new TieredStore(tiers);
}

export class TieredStore implements ManifestStore {
  /** What every get would answer with, as long as a tag is fresh. */
  readonly remembered: Remembered;
  readonly #tiers: Tiers;

  constructor(tiers: Tiers) {
    this.#tiers = tiers;
    const { remembered } = tiers.memory;
    this.remembered = {
      ...remembered,
      tag: (repository, tag) => {
        const record = remembered.tag(repository, tag);
        return record === undefined || this.#isAhead(record) ? undefined : record;
      },
    };
  }

  /** To be called when all that a move leads to is there: one that comes before is found by the next check of its tag. */
  start(): void {
    this.#tiers.shared?.onTagMoved(({ repository, tag, record }) => {
      // So is one that cannot be followed now.
      this.followTag(repository, tag, record).catch(() => undefined);
    });
  }

  getManifest(digest: Digest): Promise<Manifest | undefined> {
    return this.#find(
      (tier) => tier.getManifest(digest),
      (tier, manifest) => tier.putManifest(manifest),
    );
  }

  putManifest(manifest: Manifest): Promise<void> {
    return this.#put((tier) => tier.putManifest(manifest));
  }

  async getTag(repository: Repository, tag: string, notBefore = 0): Promise<TagRecord | undefined> {
    const { memory, shared } = this.#tiers;
    const recent = await memory.getTag(repository, tag);
    if (recent !== undefined && recent.checkedAt > notBefore && !this.#isAhead(recent)) return recent;
    const stored = await this.#tiers.embedded.getTag(repository, tag);
    const kept = stored === undefined || (recent !== undefined && replaces(recent, stored)) ? recent : stored;
    const isAhead = kept !== undefined && this.#isAhead(kept);
    const local = isAhead ? await this.#setBack(repository, tag, kept) : kept;
    const isOld = local === undefined || local.checkedAt <= notBefore;
    const remote = isOld ? await shared?.getTag(repository, tag) : undefined;
    if (remote !== undefined && (await this.#isNews(repository, remote, local))) {
      await this.putLocally((tier) => tier.putTag(repository, tag, remote));
      return remote;
    }
    if (local !== undefined) await memory.putTag(repository, tag, local);
    return local;
  }

  /**
   * A check that failed says something about this server's way to upstream and nothing about the tag: it is not for
   * the others, who may get through. Nobody waits for the disk to take it: without it there is one check more after a
   * restart, and in an outage every pull is on its way through here.
   */
  async putTag(repository: Repository, tag: string, record: TagRecord): Promise<void> {
    const put = (tier: ManifestStore): Promise<void> => tier.putTag(repository, tag, record);
    if (record.failure === undefined) return this.#put(put);
    await put(this.#tiers.memory);
    put(this.#tiers.embedded).catch(() => undefined);
  }

  /** Takes over where another server has moved a tag, if it is in use here. */
  async followTag(repository: Repository, tag: string, record: TagRecord): Promise<void> {
    const { memory, embedded } = this.#tiers;
    const local = (await memory.getTag(repository, tag)) ?? (await embedded.getTag(repository, tag));
    if (local === undefined || !(await this.#isNews(repository, record, local))) return;
    await this.putLocally((tier) => tier.putTag(repository, tag, record));
  }

  deleteTag(repository: Repository, tag: string): Promise<void> {
    return this.#put((tier) => tier.deleteTag(repository, tag));
  }

  async getLink(repository: Repository, digest: Digest): Promise<Link | undefined> {
    return this.#find(
      (tier) => tier.getLink(repository, digest),
      (tier, link) => tier.putLinks(repository, new Map([[digest, link]])),
      async (shared) => shared.getLink(repository, digest, await this.#audienceOf(repository)),
    );
  }

  async putLinks(repository: Repository, links: ReadonlyMap<Digest, Link>): Promise<void> {
    const { shared } = this.#tiers;
    if (shared !== undefined) void shared.putLinks(repository, links, await this.#audienceOf(repository));
    await this.putLocally((tier) => tier.putLinks(repository, links));
  }

  async isOffered(repository: Repository, digest: Digest): Promise<boolean> {
    const found = await this.#find(
      async (tier) => (await tier.isOffered(repository, digest)) || undefined,
      (tier) => tier.putOffers(repository, [digest]),
    );
    return found === true;
  }

  putOffers(repository: Repository, digests: readonly Digest[]): Promise<void> {
    return this.#put((tier) => tier.putOffers(repository, digests));
  }

  getRepository(repository: Repository): Promise<RepositoryRecord | undefined> {
    return this.#find(
      (tier) => tier.getRepository(repository),
      (tier, record) => tier.putRepository(repository, record),
    );
  }

  putRepository(repository: Repository, record: RepositoryRecord): Promise<void> {
    return this.#put((tier) => tier.putRepository(repository, record));
  }

  async close(): Promise<void> {
    const { memory, embedded, shared } = this.#tiers;
    await shared?.close();
    await embedded.close();
    await memory.close();
  }

  /** The embedded store lacks a manifest that was served from memory: it could not be written, or was just removed. */
  async restore(digest: Digest): Promise<void> {
    const manifest = await this.#tiers.memory.getManifest(digest);
    if (manifest !== undefined) await this.#tiers.embedded.putManifest(manifest);
  }

  /**
   * Whether `remote` is newer and can be served in place of `local`: a tag moves only to what its repository is known to
   * hold, and only once that manifest is here, so that nothing that is served now is lost.
   */
  async #isNews(repository: Repository, remote: TagRecord, local: TagRecord | undefined): Promise<boolean> {
    if (local === undefined) return true;
    if (replaces(local, remote)) return false;
    const { digest } = remote.descriptor;
    if (digest === local.descriptor.digest) return true;
    const link = await this.getLink(repository, digest);
    return link !== undefined && (await this.getManifest(digest)) !== undefined;
  }

  /** By what this server knows itself: nobody else may say that a repository is open. */
  async #audienceOf(repository: Repository): Promise<Audience> {
    const { memory, embedded } = this.#tiers;
    const record = (await memory.getRepository(repository)) ?? (await embedded.getRepository(repository));
    return record?.restricted === true ? 'restricted' : 'public';
  }

  #isAhead({ checkedAt, confirmedAt }: TagRecord): boolean {
    const { now = Date.now } = this.#tiers;
    return Math.max(checkedAt, confirmedAt) > now() + CLOCK_SKEW_MS;
  }

  /** The clock was ahead then: what the tag named is true still, and due to be checked, unless it never is. */
  async #setBack(repository: Repository, tag: string, record: TagRecord): Promise<TagRecord> {
    const { now = Date.now } = this.#tiers;
    const aged = { ...record, checkedAt: 1, confirmedAt: now() };
    await this.putLocally((tier) => tier.deleteTag(repository, tag));
    await this.putLocally((tier) => tier.putTag(repository, tag, aged));
    return aged;
  }

  async putLocally(put: (tier: ManifestStore) => Promise<void>): Promise<void> {
    await put(this.#tiers.memory);
    await put(this.#tiers.embedded);
  }

  async #put(put: (tier: ManifestStore) => Promise<void>): Promise<void> {
    const { shared } = this.#tiers;
    if (shared !== undefined) void put(shared);
    await this.putLocally(put);
  }

  async #find<T>(
    get: (tier: ManifestStore) => Promise<T | undefined>,
    fill: (tier: ManifestStore, value: T) => Promise<void>,
    getShared: (shared: SharedStore) => Promise<T | undefined> = get,
  ): Promise<T | undefined> {
    const { memory, embedded, shared } = this.#tiers;
    const recent = await get(memory);
    if (recent !== undefined) return recent;
    const local = await get(embedded);
    if (local !== undefined) {
      await fill(memory, local);
      return local;
    }
    const remote = shared === undefined ? undefined : await getShared(shared);
    if (remote !== undefined) await this.putLocally((tier) => fill(tier, remote));
    return remote;
  }
}
