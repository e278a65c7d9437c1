import type { Digest } from '../oci/digest.ts';
import type { ManifestContent } from '../oci/manifest.ts';
import type { Platform } from '../oci/platform.ts';
import type { Reference, Repository } from '../oci/reference.ts';

/** One platform of an index, cached or partial. */
export interface PlatformState {
  /** `unknown`: the index names no platform. */
  readonly platform: string;
  readonly state: CacheState;
  readonly missingBlobs: number;
  /** Number of missing or partial attestations; each fails Docker 29. `missingBlobs` counts their blobs. */
  readonly missingAttestations: number;
}

/**
 * `unknown`: the image is not cached. `too-large`: pins would exceed their limit. `pinned`: the image must be unpinned
 * first. Nothing was changed.
 */
export class ImageError extends Error {
  override readonly name = 'ImageError';
  readonly code: 'unknown' | 'too-large' | 'pinned';

  constructor(code: ImageError['code'], message: string) {
    super(message);
    this.code = code;
  }
}

export interface RemovedImages {
  readonly manifests: number;
  readonly blobs: number;
  readonly bytes: number;
}

/** A cached manifest or index in one repository. */
export interface ImageEntry {
  /** Repository key: `docker.io/library/golang`. */
  readonly repository: string;
  /** The tags of this repository for `digest`, in order. */
  readonly tags: readonly string[];
  readonly digest: Digest;
  readonly mediaType: string;
  readonly kind: ManifestContent['kind'];
  /** The platform that a cached index names; undefined for an index, or if no index names one. */
  readonly platform: Platform | undefined;
  /** The cached indexes that list this manifest. */
  readonly indexes: readonly Digest[];
  /** Cached bytes of its blobs; for an index, of the blobs of its cached entries. */
  readonly bytes: number;
  /** Bytes that its removal would free: no other manifest lists these blobs. */
  readonly ownBytes: number;
  readonly state: CacheState;
  /** Number of missing blobs; for an index, the sum over `platforms`. */
  readonly missingBlobs: number;
  /** For an index: its platforms that are cached or partial. */
  readonly platforms: readonly PlatformState[];
  /** For each tag, its last digest that is cached, if `state` is not `cached`. */
  readonly before: readonly { readonly tag: string; readonly digest: Digest }[];
  /** Time of the last pull, exact to a minute; ms since the epoch. */
  readonly pulledAt: number;
  /** By a tag, by its digest, or through an index that lists it. */
  readonly isPinned: boolean;
}

/** The cached images: to list, pin and remove. */
export interface Images {
  list(): AsyncGenerator<ImageEntry, void>;
  /** Protects an image from eviction; a tag protects its current digest. Throws ImageError `unknown`, `too-large`. */
  pin(repository: Repository, reference: Reference): Promise<void>;
  /** Throws ImageError `too-large` if pins would exceed their limit with these blobs. */
  requireRoom(added: ReadonlyMap<Digest, number>, what: string): Promise<void>;
  /** Pins all in one transaction. Callers check `requireRoom` first. Throws ImageError `unknown`. */
  pinAll(names: readonly { readonly repository: Repository; readonly reference: Reference }[]): Promise<void>;
  /** False if the image was not pinned. */
  unpin(repository: Repository, reference: Reference): Promise<boolean>;
  /**
   * Removes a tag or a digest from a repository. Then removes its content if no tag, index or pin names it: the
   * manifest, the entries of an index, and their blobs. Open blobs stay readable. Throws ImageError `unknown`,
   * `pinned`.
   */
  remove(repository: Repository, reference: Reference): Promise<RemovedImages>;
}

/** Whether all, some or none of an image is on disk. */
export type CacheState = 'cached' | 'partial' | 'missing';

export function stateOf({ parts, cached }: { readonly parts: number; readonly cached: number }): CacheState {
  if (cached === 0) return 'missing';
  return cached === parts ? 'cached' : 'partial';
}
