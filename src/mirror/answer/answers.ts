import type { Digest } from '../../oci/digest.ts';
import type { Descriptor, Manifest } from '../../oci/manifest.ts';
import type { Platform } from '../../oci/platform.ts';
import type { ByteRange } from '../../oci/range.ts';
import type { Reference, Repository } from '../../oci/reference.ts';
import type { TagList } from '../../upstream/upstream.ts';

export interface ManifestRequest {
  readonly repository: Repository;
  readonly reference: Reference;
  readonly client: PullClient;
  /** HEAD: only the descriptor is wanted, and nothing is fetched for it that upstream's HEAD can tell. */
  readonly headOnly: boolean;
}

interface Named {
  readonly cache: CacheStatus;
  readonly stale?: Staleness;
  /** The list that the tag names and that this was chosen out of for the client. */
  readonly list?: Digest;
}

export interface HeadAnswer extends Named {
  readonly head: Descriptor;
}

export interface GetAnswer extends Named {
  readonly manifest: Manifest;
}

export type ManifestAnswer = HeadAnswer | GetAnswer;

export function descriptorOf(answer: ManifestAnswer): Descriptor {
  return 'head' in answer ? answer.head : answer.manifest.descriptor;
}

/** Cached repositories asked for: at most `limit`, those after `after`. */
export interface CatalogQuery {
  readonly after?: string;
  readonly limit: number;
  /** Whether who asks may see a repository; undefined: all that are served. */
  readonly mayPull?: ((key: string) => boolean) | undefined;
}

export interface TagAnswer extends TagList {
  readonly cache: CacheStatus;
  /** Why these are only the cached tags. */
  readonly failure?: string;
}

/** Nobody in particular: manifests come as they are. */
export const NOBODY: PullClient = {
  address: '',
  accept: undefined,
  userAgent: undefined,
  platform: undefined,
  rule: undefined,
};

export interface ReferrersAnswer {
  /** An index, not filtered. */
  readonly bytes: Buffer;
  readonly cache: CacheStatus;
  readonly stale?: Staleness;
  /** Why the list is empty although nobody has said that it is. */
  readonly failure?: string;
}

/**
 * How an answer came about; becomes `Cache-Status` (RFC 9211) and a metric label.
 * - `hit`: from the cache, fresh.
 * - `negative`: a remembered absence.
 * - `stored`: fetched, and kept.
 * - `collapsed`: joined a fetch that another request had started.
 * - `revalidated`: from the cache, after upstream confirmed it just now (or moved the tag).
 * - `stale`: from the cache, though it could not be checked.
 * - `miss`: upstream was asked, nothing to keep (a HEAD, an absence).
 * - `bypass`: passed through, not kept.
 * - `local`: answered without cache or upstream (ping, errors of the request).
 */
export type CacheStatus =
  'hit' | 'negative' | 'stored' | 'collapsed' | 'revalidated' | 'stale' | 'miss' | 'bypass' | 'local';

/** Why an answer may be out of date. */
export interface Staleness {
  /** For people. */
  readonly reason: string;
  /** When upstream last confirmed it; ms since the epoch. */
  readonly confirmedAt: number;
}

/** Who asks, as far as that decides what is served by tag. */
export interface PullClient {
  /** Its network address. */
  readonly address: string;
  /** All its Accept lines, joined by commas: the manifests that it can take. */
  readonly accept: string | undefined;
  readonly userAgent: string | undefined;
  /** From `?platform=`: a list is always resolved. */
  readonly platform: Platform | undefined;
  /** What the settings say of its network. */
  readonly rule: PlatformRule | undefined;
}

/** What holds for the clients of a network. */
export interface PlatformRule {
  readonly platform?: Platform;
  /** `always`: a list is resolved for clients that take lists, too. */
  readonly resolve?: 'always' | 'negotiate';
}

/** A shorter piece of a blob is not held back: nobody takes it for the whole (the footer reads of lazy pullers). */
const HOLD_FROM_BYTES = 1024 * 1024;

/** The bytes of a blob for one client, wherever they come from. Nothing is verified unless the section says so. */
export interface BlobBody {
  /** Undefined while nobody has told: neither upstream nor a manifest. */
  readonly size: number | undefined;
  readonly cache: CacheStatus;
  /** All of it, where nothing has to be read or waited for; not to be written to. */
  readonly content?: Buffer | undefined;
  /** One section is read at a time; `range` undefined: the whole, of unknown size. */
  section(range: ByteRange | undefined): BlobSection;
  /** Ends a pending read and gives everything back. Safe to call more than once. */
  close(): void;
}

export interface BlobSection {
  /**
   * The next bytes, one chunk after the other: read into `buffer`, or such as others have, too, and that are not to be
   * written to. None at the end of the section; none is empty. Throws BlobBodyError when the rest
   * cannot be had.
   */
  read(buffer: Buffer): Promise<readonly Buffer[]>;
}

/** Whether the end of this section must wait for the verification. */
export function isHeldBack(range: ByteRange | undefined, size: number | undefined): boolean {
  if (range === undefined) return true;
  if (range.end !== size) return false;
  return range.start === 0 || range.end - range.start > HOLD_FROM_BYTES;
}
