import { parseDigest, type Digest } from '../../src/oci/digest.ts';
import type { MultiPlatformImage } from '../fixtures/images.ts';

/** Digests, each list sorted. */
export interface ImageDigests {
  readonly manifests: readonly Digest[];
  readonly blobs: readonly Digest[];
}

/** What a client that pulls one platform needs: index and manifest, config and layers. `platform` as in the index. */
export function digestsOf(image: MultiPlatformImage, platform: string): ImageDigests {
  const child = image.images.get(platform);
  if (child === undefined) throw new Error(`the image has no ${platform}`);
  return {
    manifests: [image.root.digest, child.root.digest].sort(),
    blobs: [child.config, ...child.layers].map(({ digest }) => digest).sort(),
  };
}

/** The manifest of the attestation for one platform. `platform` as in the index. */
export function attestationOf(image: MultiPlatformImage, platform: string): Digest {
  const linux = [...image.images].filter(([, child]) => child.platform.os === 'linux');
  const digest = image.attestations[linux.findIndex(([name]) => name === platform)]?.digest;
  if (digest === undefined) throw new Error(`the image has no attestation for ${platform}`);
  return digest;
}

/** The digests that a manifest of an image names. */
export function blobsNamedBy(manifest: Buffer | undefined): Digest[] {
  const found = manifest?.toString().matchAll(/sha256:[0-9a-f]{64}/g) ?? [];
  return [...found].flatMap(([text]) => parseDigest(text) ?? []);
}

/** What a client that pulls all platforms needs, attestations included. */
export function allDigestsOf({ manifests, blobs }: MultiPlatformImage): ImageDigests {
  return {
    manifests: manifests.map(({ digest }) => digest).sort(),
    // Images may share blobs.
    blobs: [...new Set(blobs.map(({ digest }) => digest))].sort(),
  };
}
