import type { Digest } from '../../oci/digest.ts';
import type { ListedImage } from '../../oci/image-name.ts';
import type { Descriptor } from '../../oci/manifest.ts';
import { formatPlatform, type Platform } from '../../oci/platform.ts';
import type { Repository } from '../../oci/reference.ts';
import type { ManifestStore } from '../../store/manifests.ts';
import { blobsBesideAttestations, walkImage, type ImageWalk } from './walk.ts';
import { platformNames, type WantedImage } from './wanted.ts';

/** A part of an image that is not cached. Printed as JSON; sizes in bytes. */
export interface MissingPart {
  readonly kind: 'manifest' | 'blob' | 'platform';
  /** A missing part of an attestation fails only Docker 29 with its containerd store. */
  readonly partOf: 'image' | 'attestation';
  /** Absent for a platform. */
  readonly digest?: Digest;
  readonly size?: number;
  /** For people. */
  readonly reason: string;
}

export interface PlatformReadiness {
  /** `os/architecture[/variant]`, or `all`. */
  readonly platform: string;
  /** For all clients: attestations count. */
  readonly isComplete: boolean;
  readonly blobs: number;
  /** Sum of the sizes of `blobs`. A missing manifest names none. */
  readonly bytes: number;
  readonly missing: readonly MissingPart[];
}

/** Whether an image could be pulled now if no upstream were reachable. */
export interface Readiness {
  /** As the request names it. */
  readonly image: string;
  /** The cached digest of the name. */
  readonly digest?: Digest | undefined;
  readonly isReady: boolean;
  /** Faults of the image as a whole, for people. */
  readonly problems: readonly string[];
  readonly platforms: readonly PlatformReadiness[];
  /** Number of foreign layers: clients get these from another server. */
  readonly foreignLayers: number;
}

export interface ImageReadinessOptions {
  readonly store: ManifestStore;
  readonly hasBlob: (blob: Descriptor) => Promise<boolean>;
  /** Why the settings forbid to serve the image, for people; undefined: they allow it. */
  readonly refusal: (image: ListedImage) => Promise<string | undefined>;
}

/** Finds which images are cached, by the same rules as a pull. Sends no requests and changes nothing. */
export class ImageReadiness {
  readonly #options: ImageReadinessOptions;

  constructor(options: ImageReadinessOptions) {
    this.#options = options;
  }

  async of(wanted: WantedImage): Promise<Readiness> {
    const { name, image, platforms } = wanted;
    const refusal = await this.#options.refusal(image);
    const { digest, problems } =
      refusal === undefined ? await this.#root(wanted) : { digest: undefined, problems: [refusal] };
    const result = { image: name, problems, digest };
    if (digest === undefined) return { ...result, isReady: false, platforms: [], foreignLayers: 0 };
    const choices = platforms.length === 0 ? [[]] : platforms.map((platform) => [platform]);
    const each: PlatformReadiness[] = [];
    const foreign = new Set<Digest>();
    for (const choice of choices) {
      const walk = await this.#walk(image.repository, digest, choice);
      for (const layer of walk.foreign) foreign.add(layer.digest);
      each.push(platformReadiness(platformNames(choice).join(), walk));
    }
    const isReady = problems.length === 0 && each.every(({ isComplete }) => isComplete);
    return { ...result, isReady, platforms: each, foreignLayers: foreign.size };
  }

  /** The digest that clients get for the name, and the faults that would fail their pulls. */
  async #root({ image }: WantedImage): Promise<{ digest: Digest | undefined; problems: string[] }> {
    const { repository, tag, digest } = image;
    const { store } = this.#options;
    const record = tag === undefined ? undefined : await store.getTag(repository, tag);
    const named = record?.descriptor.digest;
    const problems: string[] = [];
    if (tag !== undefined && named === undefined) problems.push('the tag is not cached');
    else if (tag !== undefined && digest !== undefined && named !== digest) {
      problems.push(`the cached tag names ${named}`);
    }
    // A repository serves a digest only if a link says that it has the digest.
    if (digest !== undefined && (await store.getLink(repository, digest)) === undefined) {
      problems.push('not known to belong to this repository');
    }
    return { digest: digest ?? named, problems };
  }

  #walk(repository: Repository, root: Digest, platforms: readonly Platform[]): Promise<ImageWalk> {
    const { store, hasBlob } = this.#options;
    const read = async (digest: Digest) => {
      // An entry of an index needs a link of its own.
      const isKnown = digest === root || (await store.getLink(repository, digest)) !== undefined;
      return isKnown ? store.getManifest(digest) : undefined;
    };
    return walkImage(root, { platforms, read, hasBlob });
  }
}

function platformReadiness(platform: string, walk: ImageWalk): PlatformReadiness {
  const ofImages = blobsBesideAttestations(walk);
  const missing: MissingPart[] = [
    ...walk.unmatched.map((each) => ({
      kind: 'platform' as const,
      partOf: 'image' as const,
      reason: `no manifest for ${formatPlatform(each)}`,
    })),
    ...walk.missing.map(({ digest, role, reason }) => ({
      kind: 'manifest' as const,
      partOf: role === 'attestation' ? ('attestation' as const) : ('image' as const),
      digest,
      reason,
    })),
    ...walk.missingBlobs.map(({ digest, size }) => ({
      kind: 'blob' as const,
      partOf: ofImages.has(digest) ? ('image' as const) : ('attestation' as const),
      digest,
      size,
      reason: 'not cached',
    })),
  ];
  const bytes = walk.blobs.reduce((sum, { size }) => sum + size, 0);
  return { platform, isComplete: missing.length === 0, blobs: walk.blobs.length, bytes, missing };
}
