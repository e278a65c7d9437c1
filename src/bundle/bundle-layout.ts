import { digestAlgorithm, digestHex, type Digest } from '../oci/digest.ts';

/*
 * A bundle is an OCI image layout in a tar (OCI image-spec, image-layout.md), in this order:
 *   oci-layout
 *   index.json        the images by name, and the digest of pierhead.json
 *   index.json.sig    Ed25519 over the bytes of index.json, base64; only if it is signed
 *   pierhead.json     what lies in which order behind it, and what must be there already
 *   manifest.json     the same images for programs that know no OCI layouts (docker save); only if there are any
 *   blobs/sha256/…    manifests and lists of referrers, then blobs
 * So whoever reads it knows all before the first blob, and index.json speaks for every byte but manifest.json's, for
 * which pierhead.json does.
 */

export const FILES = {
  layout: 'oci-layout',
  index: 'index.json',
  signature: 'index.json.sig',
  contents: 'pierhead.json',
  docker: 'manifest.json',
} as const;

export const LAYOUT = Buffer.from('{"imageLayoutVersion":"1.0.0"}');

/** Annotations of the index as a whole. */
export const BUNDLE_VERSION = 'io.pierhead.bundle.version';
export const BUNDLE_CONTENTS = 'io.pierhead.bundle.contents';

/** Annotations of an image: what `skopeo` finds it by, and what `ctr images import` calls it. */
export const REF_NAME = 'org.opencontainers.image.ref.name';
export const CONTAINERD_NAME = 'io.containerd.image.name';

/** Where an archive holds it. */
export function blobName(digest: Digest): string {
  return `blobs/${digestAlgorithm(digest)}/${digestHex(digest)}`;
}
