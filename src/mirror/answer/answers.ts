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
  /** HEAD: a descriptor is enough, so a HEAD is sent upstream where possible. */
  readonly headOnly: boolean;
}

interface AnswerBase {
  readonly cache: CacheStatus;
  readonly stale?: Staleness | undefined;
  /** The index of the tag, if this manifest was chosen from it for the client. */
  readonly index?: Digest;
}

export interface HeadAnswer extends AnswerBase {
  readonly head: Descriptor;
}

export interface GetAnswer extends AnswerBase {
  readonly manifest: Manifest;
}

export type ManifestAnswer = HeadAnswer | GetAnswer;

export function descriptorOf(answer: ManifestAnswer): Descriptor {
  return 'head' in answer ? answer.head : answer.manifest.descriptor;
}

/** A page of the cached repositories: at most `limit`, after `after`. */
export interface CatalogQuery {
  readonly after?: string | undefined;
  readonly limit: number;
  /** Whether the account may see a repository. Undefined: all. */
  readonly mayPull?: ((key: string) => boolean) | undefined;
}

export interface TagAnswer extends TagList {
  readonly cache: CacheStatus;
  /** Why these are only the cached tags. */
  readonly failure?: string | undefined;
}

/** A client that accepts any manifest, and gets an index as it is. */
export const NOBODY: PullClient = {
  address: '',
  accept: undefined,
  userAgent: undefined,
  platform: undefined,
  rule: undefined,
};

export interface ReferrersAnswer {
  /** An index of all referrers. */
  readonly bytes: Buffer;
  readonly cache: CacheStatus;
  readonly stale?: Staleness | undefined;
  /** Why the referrers are unknown; the index is then empty. */
  readonly failure?: string | undefined;
}

/**
 * The source of an answer; becomes `Cache-Status` (RFC 9211) and a metric label.
 * - `hit`: from the cache, fresh.
 * - `negative`: a cached "not found".
 * - `stored`: fetched and cached.
 * - `collapsed`: joined the fetch or fill of another request.
 * - `revalidated`: from the cache, after a tag check (the tag may have moved).
 * - `stale`: from the cache, after a failed tag check.
 * - `miss`: from upstream, with nothing to cache (a HEAD, "not found").
 * - `bypass`: passed through without caching.
 * - `local`: without cache or upstream (ping, errors of the request).
 */
export type CacheStatus =
  'hit' | 'negative' | 'stored' | 'collapsed' | 'revalidated' | 'stale' | 'miss' | 'bypass' | 'local';

/** Why an answer is stale. */
export interface Staleness {
  readonly reason: string;
  /** When upstream last confirmed it; ms since the epoch. */
  readonly confirmedAt: number;
}

/** The properties of a client that decide which manifest it gets by tag. */
export interface PullClient {
  /** Its network address. */
  readonly address: string;
  /** Its Accept lines, joined by commas. */
  readonly accept: string | undefined;
  readonly userAgent: string | undefined;
  /** From `?platform=`. The client then never gets an index. */
  readonly platform: Platform | undefined;
  /** From the settings for its network. */
  readonly rule: PlatformRule | undefined;
}

/** Settings for the clients of a network. */
export interface PlatformRule {
  readonly platform?: Platform | undefined;
  /** `always`: clients get the manifest for `platform` in place of an index, even if they accept an index. */
  readonly resolve?: 'always' | 'negotiate' | undefined;
}

/** The end of a shorter section is sent unverified. Lazy pullers read such footers; no client takes one for a blob. */
const HOLD_FROM_BYTES = 1024 * 1024;

/** The bytes of a blob for one client, from disk, from a fill or from upstream. */
export interface BlobBody {
  /** Undefined while neither upstream nor a manifest has stated it. */
  readonly size: number | undefined;
  readonly cache: CacheStatus;
  /** All bytes, if they are in memory. Read-only. */
  readonly content?: Buffer | undefined;
  /** Only one section may be read at a time. `range` undefined: the whole blob, of unknown size. */
  section(range: ByteRange | undefined): BlobSection;
  /** Ends a pending read and frees all resources. Safe to call more than once. */
  close(): void;
}

export interface BlobSection {
  /**
   * The next chunks of bytes, in `buffer` or in shared read-only buffers. No chunk is empty. An empty array is the end
   * of the section. Throws BlobBodyError if the rest is not available.
   */
  read(buffer: Buffer): Promise<readonly Buffer[]>;
}

/** Whether the end of a section is sent only after the blob is verified. */
export function isHeldBack(range: ByteRange | undefined, size: number | undefined): boolean {
  if (range === undefined) return true;
  if (range.end !== size) return false;
  return range.start === 0 || range.end - range.start > HOLD_FROM_BYTES;
}
