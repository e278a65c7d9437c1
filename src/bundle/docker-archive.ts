import type { Digest } from '../oci/digest.ts';
import type { ImageName } from '../oci/image-name.ts';
import { wholeName } from './bundle-index.ts';
import { blobName } from './bundle-layout.ts';

/** An image for one platform, under the names that it is to have. */
export interface DockerImage {
  readonly config: Digest;
  /** From the bottom up. */
  readonly layers: readonly Digest[];
  readonly names: readonly ImageName[];
}

/**
 * `manifest.json` as `docker save` writes it, for programs that read no OCI layouts, such as Docker before 25: it takes
 * one platform per tag, and layers that are compressed too (moby, image/tarexport/load.go). Names are whole, since
 * Podman takes short ones for `localhost/…`.
 */
export function renderDockerManifest(images: readonly DockerImage[]): Buffer {
  const items = images.map(({ config, layers, names }) => ({
    Config: blobName(config),
    RepoTags: names.filter(({ reference }) => reference.kind === 'tag').map(wholeName),
    Layers: layers.map(blobName),
  }));
  return Buffer.from(JSON.stringify(items));
}
