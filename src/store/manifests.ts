import type { MaybePromise } from '../lib/promises.ts';
import type { Digest } from '../oci/digest.ts';
import type { Descriptor, Manifest } from '../oci/manifest.ts';
import type { Repository } from '../oci/reference.ts';

/** The cached state of a tag. Its manifest may be missing: a HEAD gives only the descriptor. */
export interface TagRecord {
  readonly descriptor: Descriptor;
  /** Time of the last tag check, failed or not; ms since the epoch. Freshness counts from then. */
  readonly checkedAt: number;
  /** When upstream last confirmed this digest; ms since the epoch. The age of a stale tag counts from then. */
  readonly confirmedAt: number;
  /** Why the last check failed; absent if it succeeded. */
  readonly failure?: string;
}

/** Proof that a repository holds a digest. */
export interface Link {
  /** `manifest`: a manifest of this repository names it. `upstream`: upstream confirmed it by a HEAD or GET. */
  readonly by: 'manifest' | 'upstream';
  /** In bytes, if known. */
  readonly size?: number;
  /** Of a manifest: the repository has the links of its blobs, too. Holds for this server, so Redis does not keep it. */
  readonly withBlobs?: true;
}

/** Whether a repository is public. */
export interface RepositoryRecord {
  /** When upstream last served it to an anonymous client; ms since the epoch. Absent: never. */
  readonly publicAt?: number;
  /** True if content was fetched with credentials before the repository was known to be public. */
  readonly restricted?: boolean;
}

/**
 * Manifests by digest, tags, links and repositories. Undefined is a miss, and says nothing about upstream. After a put
 * has resolved, every later get of the same store returns its value. Exception: an unreachable Redis drops puts, and
 * its gets are misses; it never throws.
 */
export interface ManifestStore {
  getManifest(digest: Digest): MaybePromise<Manifest | undefined>;
  putManifest(manifest: Manifest): Promise<void>;
  /** Asks slower tiers, too, unless a faster one has a check after `notBefore` (ms since the epoch). */
  getTag(repository: Repository, tag: string, notBefore?: number): MaybePromise<TagRecord | undefined>;
  /** Has no effect if the stored record is newer (see `replaces`). */
  putTag(repository: Repository, tag: string, record: TagRecord): Promise<void>;
  deleteTag(repository: Repository, tag: string): Promise<void>;
  getLink(repository: Repository, digest: Digest): MaybePromise<Link | undefined>;
  /** In the order of the map. A link by `upstream` does not replace one by `manifest`. */
  putLinks(repository: Repository, links: ReadonlyMap<Digest, Link>): Promise<void>;
  /** Whether a client may ask for the digest. No proof that the repository holds it. */
  isOffered(repository: Repository, digest: Digest): MaybePromise<boolean>;
  /** Records digests that clients got from an allowed tag, an index or the referrers. */
  putOffers(repository: Repository, digests: readonly Digest[]): Promise<void>;
  getRepository(repository: Repository): MaybePromise<RepositoryRecord | undefined>;
  putRepository(repository: Repository, record: RepositoryRecord): Promise<void>;
  close(): Promise<void>;
}

/** A store inside this process: it answers without promises. */
export interface LocalManifestStore extends ManifestStore {
  getManifest(digest: Digest): Manifest | undefined;
  getTag(repository: Repository, tag: string): TagRecord | undefined;
  getLink(repository: Repository, digest: Digest): Link | undefined;
  isOffered(repository: Repository, digest: Digest): boolean;
  getRepository(repository: Repository): RepositoryRecord | undefined;
}

/** The lists of the embedded store, in ascending code-unit order. */
export interface Catalog {
  /** Keys (`docker.io/library/golang`) of the repositories with a tag or a link, after `after`. */
  listRepositories(options: {
    readonly after?: string | undefined;
    readonly limit: number;
  }): Promise<string[]>;
  listTags(repository: Repository): Promise<string[]>;
  /** Some images that contain the digest: `docker.io/library/golang:1.24`; with their digest if they have no tag. */
  listImagesOf(digest: Digest): Promise<string[]>;
}

/** Which images clients pull. Eviction removes those last. */
export interface ImageUsage {
  /** Records that a client gets this manifest by GET. Cheap: it is buffered in memory and written later. */
  touch(manifest: Descriptor): void;
}

/** The manifests of the embedded store, for verification. */
export interface ManifestAudit {
  /** In ascending order of digests, after `after`. `manifest` undefined: the record is unreadable. */
  listManifests(options: {
    readonly after?: Digest | undefined;
    readonly limit: number;
  }): { readonly digest: Digest; readonly manifest: Manifest | undefined }[];
  deleteManifest(digest: Digest): Promise<void>;
  manifestTotals(): { readonly manifests: number; readonly bytes: number };
}

/** The referrers of a manifest, from upstream's last answer. */
export interface ReferrersRecord {
  /** An index. */
  readonly bytes: Buffer;
  /** Time of the answer; ms since the epoch. */
  readonly confirmedAt: number;
}

/** Referrers by repository and manifest. Undefined: unknown, which does not mean none. */
export interface ReferrersStore {
  getReferrers(repository: Repository, digest: Digest): ReferrersRecord | undefined;
  putReferrers(repository: Repository, digest: Digest, record: ReferrersRecord): Promise<void>;
  deleteReferrers(repository: Repository, digest: Digest): Promise<void>;
}

/**
 * Whether `record` replaces `known`: the later confirmation wins; if both are equal, the later check. So a failed check
 * does not replace a record that was confirmed while it ran.
 */
export function replaces(record: TagRecord, known: TagRecord): boolean {
  if (record.confirmedAt !== known.confirmedAt) return record.confirmedAt > known.confirmedAt;
  return record.checkedAt >= known.checkedAt;
}
