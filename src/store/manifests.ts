import type { MaybePromise } from '../lib/promises.ts';
import type { Digest } from '../oci/digest.ts';
import type { Descriptor, Manifest } from '../oci/manifest.ts';
import type { Repository } from '../oci/reference.ts';

/** What is known of a tag. The manifest that it names need not be stored yet (a HEAD alone tells the digest). */
export interface TagRecord {
  readonly descriptor: Descriptor;
  /** When upstream was last asked, whether it answered or not; ms since the epoch. Freshness counts from here. */
  readonly checkedAt: number;
  /** When upstream last said that the tag names this digest; ms since the epoch. Staleness counts from here. */
  readonly confirmedAt: number;
  /** Why the last check failed, for people; absent when it succeeded. */
  readonly failure?: string;
}

/** Proof that a repository holds a digest: something that it serves names it, or upstream said so. */
export interface Link {
  /** `manifest`: named by a manifest of this repository. `upstream`: upstream confirmed it by a HEAD or a GET. */
  readonly by: 'manifest' | 'upstream';
  /** Bytes, if a descriptor or upstream told. */
  readonly size?: number;
}

/** What is known of who may see a repository. */
export interface RepositoryRecord {
  /** When upstream last served it to an anonymous caller; ms since the epoch. Absent: never seen. */
  readonly publicAt?: number;
  /** Something of it was fetched with credentials while it was not known to be public. */
  readonly restricted?: boolean;
}

/**
 * Manifests by digest, tags, links and repositories. Undefined means that this store does not know, which is a
 * miss and never a claim about upstream. A put that has resolved is seen by every later get of the same store
 * (a Redis that is out of reach excepted: it forgets puts and misses gets, and never throws).
 */
export interface ManifestStore {
  getManifest(digest: Digest): MaybePromise<Manifest | undefined>;
  putManifest(manifest: Manifest): Promise<void>;
  /** `notBefore`, ms since the epoch: slower tiers are asked as well unless a faster one was checked since. */
  getTag(repository: Repository, tag: string, notBefore?: number): MaybePromise<TagRecord | undefined>;
  /** Keeps `record` unless one that counts for more is there already. */
  putTag(repository: Repository, tag: string, record: TagRecord): Promise<void>;
  deleteTag(repository: Repository, tag: string): Promise<void>;
  getLink(repository: Repository, digest: Digest): MaybePromise<Link | undefined>;
  /** A link `by: 'manifest'` is never replaced by one `by: 'upstream'`. */
  putLinks(repository: Repository, links: ReadonlyMap<Digest, Link>): Promise<void>;
  /** Whether a client may ask the repository for the digest. It is no proof that the repository holds it. */
  isOffered(repository: Repository, digest: Digest): MaybePromise<boolean>;
  /** Clients were told these digests by a tag, an index or a list of referrers that they may pull. */
  putOffers(repository: Repository, digests: readonly Digest[]): Promise<void>;
  getRepository(repository: Repository): MaybePromise<RepositoryRecord | undefined>;
  putRepository(repository: Repository, record: RepositoryRecord): Promise<void>;
  close(): Promise<void>;
}

/** One that has all it knows in this process, and so keeps nobody waiting who asks it. */
export interface LocalManifestStore extends ManifestStore {
  getManifest(digest: Digest): Manifest | undefined;
  getTag(repository: Repository, tag: string): TagRecord | undefined;
  getLink(repository: Repository, digest: Digest): Link | undefined;
  isOffered(repository: Repository, digest: Digest): boolean;
  getRepository(repository: Repository): RepositoryRecord | undefined;
}

/** What a store that keeps everything can list, in ascending code-unit order. */
export interface Catalog {
  /** Keys (`docker.io/library/golang`) of the repositories that have a tag or a manifest, after `after`. */
  listRepositories(options: { after?: string; limit: number }): Promise<string[]>;
  listTags(repository: Repository): Promise<string[]>;
  /** `docker.io/library/golang:1.24`: some images that a digest belongs to or is, by digest if they have no tag. */
  listImagesOf(digest: Digest): Promise<string[]>;
}

/** What clients pull, which decides what goes last when room is needed. */
export interface ImageUsage {
  /** A client gets this manifest by GET. Costs next to nothing: it is noted, and written later. */
  touch(digest: Digest): void;
}

/** The manifests of the embedded store, to be looked after. */
export interface ManifestAudit {
  /** In ascending order of digests, after `after`. `manifest` undefined: what is there cannot be read. */
  listManifests(options: {
    readonly after?: Digest | undefined;
    readonly limit: number;
  }): { readonly digest: Digest; readonly manifest: Manifest | undefined }[];
  deleteManifest(digest: Digest): Promise<void>;
  manifestTotals(): { readonly manifests: number; readonly bytes: number };
}

/** What refers to a manifest, as upstream told it last. */
export interface ReferrersRecord {
  /** An index. */
  readonly bytes: Buffer;
  /** When upstream told it; ms since the epoch. */
  readonly confirmedAt: number;
}

/** Lists of referrers by repository and manifest. Undefined: nothing is known, which is no claim that there are none. */
export interface ReferrersStore {
  getReferrers(repository: Repository, digest: Digest): ReferrersRecord | undefined;
  putReferrers(repository: Repository, digest: Digest, record: ReferrersRecord): Promise<void>;
  deleteReferrers(repository: Repository, digest: Digest): Promise<void>;
}

/**
 * Whether `record` is to take the place of `known`: what was confirmed later counts, and of what was confirmed at the
 * same time, what was checked later. So a check that failed takes nothing back that was confirmed while it ran.
 */
export function replaces(record: TagRecord, known: TagRecord): boolean {
  if (record.confirmedAt !== known.confirmedAt) return record.confirmedAt > known.confirmedAt;
  return record.checkedAt >= known.checkedAt;
}

/**
 * Locks between the servers of a fleet. They save work that would be done twice, and nothing is wrong if it is: a
 * lock may be lost at any time, and each server goes on by itself when the others cannot be asked.
 */
export interface FleetLock {
  /** `held`: by another server. `alone`: the others cannot be asked. Never rejects, and waits for nobody. */
  take(key: string): Promise<Lease | 'held' | 'alone'>;
  /** The same for one who has waited for the holder, and so not for the lock itself. */
  retake(key: string): Promise<Lease | 'held' | 'alone'>;
  /**
   * Resolves when the holder lets go, to what it says of how it went. Resolves to undefined after `waitMs` ms, or
   * as soon as the others cannot be heard any more.
   */
  released(key: string, waitMs: number): Promise<string | undefined>;
}

/** A lock that this server holds. It goes by itself, soon after the server does. */
export interface Lease {
  /** Lets go as soon as what this server has put into the shared store until now is there. */
  release(message: string): void;
}
