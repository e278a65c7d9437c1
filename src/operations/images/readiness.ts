import type { Digest } from '../../oci/digest.ts';
import type { ListedImage } from '../../oci/image-name.ts';
import type { Descriptor } from '../../oci/manifest.ts';
import { formatPlatform, type Platform } from '../../oci/platform.ts';
import type { Repository } from '../../oci/reference.ts';
import type { ManifestStore } from '../../store/manifests.ts';
import { blobsBesideAttestations, walkImage, type ImageWalk } from './walk.ts';
import { platformNames, type WantedImage } from './wanted.ts';

/** Something that a client would ask for in vain. All of it is JSON; sizes in bytes. */
export interface MissingPart {
  readonly kind: 'manifest' | 'blob' | 'platform';
  /** What an attestation lacks fails Docker 29 with its containerd store, and no other client. */
  readonly partOf: 'image' | 'attestation';
  /** Absent for a platform. */
  readonly digest?: Digest;
  readonly size?: number;
  /** For people. */
  readonly reason: string;
}

export interface PlatformReadiness {
  /** Or `all`. */
  readonly platform: string;
  /** For every client: attestations count. */
  readonly isComplete: boolean;
  readonly blobs: number;
  /** Of all its blobs, as far as known. */
  readonly bytes: number;
  readonly missing: readonly MissingPart[];
}

/** Whether an image could be pulled now if no upstream answered. */
export interface Readiness {
  /** As it was named. */
  readonly image: string;
  /** What the name stands for here. */
  readonly digest?: Digest;
  readonly isReady: boolean;
  /** What is wrong with the image as a whole, for people. */
  readonly problems: readonly string[];
  readonly platforms: readonly PlatformReadiness[];
  /** Layers that clients get elsewhere in any case. */
  readonly foreignLayers: number;
}

export interface ImageReadinessOptions {
  readonly store: ManifestStore;
  readonly hasBlob: (blob: Descriptor) => Promise<boolean>;
  /** Why the image would not be served whatever is stored, for people; undefined: it would be. */
  readonly refusal: (image: ListedImage) => Promise<string | undefined>;
}

/** Says what is stored whole, by the choices that serving makes. Asks nobody and changes nothing. */
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
    const result = { image: name, problems, ...(digest === undefined ? {} : { digest }) };
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

  /** What clients get for the name, and what would keep them from it. */
  async #root({ image }: WantedImage): Promise<{ digest: Digest | undefined; problems: string[] }> {
    const { repository, tag, digest } = image;
    const { store } = this.#options;
    const record = tag === undefined ? undefined : await store.getTag(repository, tag);
    const named = record?.descriptor.digest;
    const problems: string[] = [];
    if (tag !== undefined && named === undefined) problems.push('its tag is not known here');
    else if (tag !== undefined && digest !== undefined && named !== digest) {
      problems.push(`its tag names ${named} here`);
    }
    // By digest content goes out only where it is known to belong.
    if (digest !== undefined && (await store.getLink(repository, digest)) === undefined) {
      problems.push('it is not known to be of that repository');
    }
    return { digest: digest ?? named, problems };
  }

  #walk(repository: Repository, root: Digest, platforms: readonly Platform[]): Promise<ImageWalk> {
    const { store, hasBlob } = this.#options;
    const read = async (digest: Digest) => {
      // An entry of a list goes out only where it is known to belong.
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
      reason: `it is not made for ${formatPlatform(each)}`,
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
      reason: 'it is not cached',
    })),
  ];
  const bytes = walk.blobs.reduce((sum, { size }) => sum + size, 0);
  return { platform, isComplete: missing.length === 0, blobs: walk.blobs.length, bytes, missing };
}
