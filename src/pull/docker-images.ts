import type { DockerImage } from '../bundle/docker-archive.ts';
import type { Digest } from '../oci/digest.ts';
import type { ImageName } from '../oci/image-name.ts';
import { isRunnableImage, parseManifest } from '../oci/manifest.ts';
import { isIndexType, OCI_INDEX } from '../oci/media-types.ts';
import type { Platform } from '../oci/platform.ts';
import type { StoredManifest } from '../store/manifest-store.ts';
import { entryFor } from './platform-resolver.ts';

export interface DockerImagesOptions {
  readonly platform: Platform;
  /** The blobs that there will be: an image is left out that lacks one. */
  readonly held: ReadonlySet<Digest>;
  readonly read: (digest: Digest) => Promise<StoredManifest | undefined>;
}

/** What stands in for a list that is not stored: one of nothing. */
const NOTHING = Buffer.from('{"schemaVersion":2,"manifests":[]}');

/** The images that a client of one platform would get by these names, and the names by which it would get none. */
export async function dockerImages(
  named: readonly { readonly name: ImageName; readonly root: Digest }[],
  options: DockerImagesOptions,
): Promise<{ readonly images: DockerImage[]; readonly unmatched: ImageName[] }> {
  const images = new Map<Digest, Omit<DockerImage, 'names'> & { readonly names: ImageName[] }>();
  const unmatched: ImageName[] = [];
  for (const { name, root } of named) {
    const manifest = await chosenManifest(root, options);
    if (manifest === undefined) unmatched.push(name);
    const image = manifest === undefined ? undefined : imageOf(manifest, options);
    if (image === undefined) continue;
    const known = images.get(image.config);
    if (known === undefined) images.set(image.config, { ...image, names: [name] });
    else known.names.push(name);
  }
  return { images: [...images.values()], unmatched };
}

function imageOf(
  manifest: StoredManifest,
  options: DockerImagesOptions,
): Omit<DockerImage, 'names'> | undefined {
  const { content } = parseManifest(manifest.bytes, manifest.mediaType);
  if (content.kind === 'index' || !isRunnableImage(content) || content.foreign.length > 0) return undefined;
  const config = content.config.digest;
  const layers = content.layers.map(({ digest }) => digest);
  return [config, ...layers].every((digest) => options.held.has(digest)) ? { config, layers } : undefined;
}

async function chosenManifest(
  root: Digest,
  { platform, read }: DockerImagesOptions,
): Promise<StoredManifest | undefined> {
  const manifest = await read(root);
  if (manifest === undefined || !isIndexType(manifest.mediaType)) return manifest;
  const entry = await entryFor(platform, manifest, async ({ digest }) => {
    return (await read(digest)) ?? { digest, mediaType: OCI_INDEX, bytes: NOTHING };
  });
  return entry === undefined ? undefined : read(entry.digest);
}
