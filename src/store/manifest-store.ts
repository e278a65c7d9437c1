import type { Digest } from '../oci/digest.ts';
import type { Descriptor } from '../oci/manifest.ts';
import type { Repository } from '../oci/reference.ts';

/** A manifest exactly as upstream sent it. `bytes` always hash to `digest`: stores that others can write verify. */
export interface StoredManifest {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly bytes: Buffer;
}

/** As a tag or an index names it. */
export function descriptorOf({ digest, mediaType, bytes }: StoredManifest): Descriptor {
  return { digest, mediaType, size: bytes.length };
}

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
  getManifest(digest: Digest): Promise<StoredManifest | undefined>;
  putManifest(manifest: StoredManifest): Promise<void>;
  /** `notBefore`, ms since the epoch: slower tiers are asked as well unless a faster one was checked since. */
  getTag(repository: Repository, tag: string, notBefore?: number): Promise<TagRecord | undefined>;
  /** Keeps `record` unless one that counts for more (tag-order.ts) is there already. */
  putTag(repository: Repository, tag: string, record: TagRecord): Promise<void>;
  deleteTag(repository: Repository, tag: string): Promise<void>;
  getLink(repository: Repository, digest: Digest): Promise<Link | undefined>;
  /** A link `by: 'manifest'` is never replaced by one `by: 'upstream'`. */
  putLinks(repository: Repository, links: ReadonlyMap<Digest, Link>): Promise<void>;
  getRepository(repository: Repository): Promise<RepositoryRecord | undefined>;
  putRepository(repository: Repository, record: RepositoryRecord): Promise<void>;
  close(): Promise<void>;
}

/** What a store has at hand, told at once. Undefined: it has to be asked. */
export interface Remembered {
  manifest(digest: Digest): StoredManifest | undefined;
  tag(repository: Repository, tag: string): TagRecord | undefined;
  link(repository: Repository, digest: Digest): Link | undefined;
  repository(repository: Repository): RepositoryRecord | undefined;
}

/** What a store that keeps everything can list, in ascending code-unit order. */
export interface Catalogue {
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
