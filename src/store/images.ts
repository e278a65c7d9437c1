import type { Digest } from '../oci/digest.ts';
import type { ManifestContent } from '../oci/manifest.ts';
import type { Platform } from '../oci/platform.ts';
import type { Reference, Repository } from '../oci/reference.ts';

/** An image in an index, of which something is cached. */
export interface PlatformState {
  /** `unknown`: its index states none. */
  readonly platform: string;
  readonly state: CacheState;
  readonly missingBlobs: number;
  /** Attestations of it that are not cached whole, which fail Docker 29. Their blobs are among `missingBlobs`. */
  readonly missingAttestations: number;
}

/**
 * `unknown`: it is not stored. `too-large`: pins would keep more than they may. `pinned`: it has to be unpinned first.
 * Nothing was changed.
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

/** A stored manifest as one repository has it. */
export interface ImageEntry {
  /** Its key, `docker.io/library/golang`. */
  readonly repository: string;
  /** The tags of this repository that name it, in order. */
  readonly tags: readonly string[];
  readonly digest: Digest;
  readonly mediaType: string;
  readonly kind: ManifestContent['kind'];
  /** As a stored index says; undefined for an index, or if none tells. */
  readonly platform: Platform | undefined;
  /** The stored indexes that name it. */
  readonly indexes: readonly Digest[];
  /** Stored bytes of its blobs; of an index, those of its stored entries. */
  readonly bytes: number;
  /** Those of them that nothing else has: what its removal would free. */
  readonly ownBytes: number;
  readonly state: CacheState;
  /** How many of its blobs are not stored; of an index those of `platforms`. */
  readonly missingBlobs: number;
  /** Of an index its images of which something is cached. */
  readonly platforms: readonly PlatformState[];
  /** What its tags named before, if that is cached whole and this is not. */
  readonly before: readonly { readonly tag: string; readonly digest: Digest }[];
  /** When it was last pulled, to within a minute; ms since the epoch. */
  readonly pulledAt: number;
  /** By a tag or digest of its own, or through an index that names it. */
  readonly isPinned: boolean;
}

/** What is cached, for people: to see, to pin, to remove. */
export interface Images {
  list(): AsyncGenerator<ImageEntry, void>;
  /** Keeps it from eviction: a tag with the manifest that it names at the time. Throws ImageError `unknown`, `too-large`. */
  pin(repository: Repository, reference: Reference): Promise<void>;
  /** Throws ImageError `too-large` if pins could not keep these blobs besides all that they keep already. */
  requireRoom(added: ReadonlyMap<Digest, number>, what: string): Promise<void>;
  /** Pins at once what there is room for, by `requireRoom`. Throws ImageError `unknown`. */
  pinAll(names: readonly { readonly repository: Repository; readonly reference: Reference }[]): Promise<void>;
  /** False if it was not pinned. */
  unpin(repository: Repository, reference: Reference): Promise<boolean>;
  /**
   * Takes a tag or a digest out of a repository, and removes what nothing names then: the manifest, an index's entries,
   * and their blobs. Clients that read a blob read it to its end. Throws ImageError `unknown`, `pinned`.
   */
  remove(repository: Repository, reference: Reference): Promise<RemovedImages>;
}

/** Whether all of an image is on disk, some of it, or nothing. */
export type CacheState = 'cached' | 'partial' | 'missing';

/** Of what has `parts`, of which so many are cached. */
export function stateOf({ parts, cached }: { readonly parts: number; readonly cached: number }): CacheState {
  if (cached === 0) return 'missing';
  return cached === parts ? 'cached' : 'partial';
}
