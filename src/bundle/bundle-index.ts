import { listOf, objectOf, SCALAR } from '../lib/json.ts';
import type { Digest } from '../oci/digest.ts';
import { parseImageName, type ImageName } from '../oci/image-name.ts';
import type { Descriptor } from '../oci/manifest.ts';
import { OCI_INDEX } from '../oci/media-types.ts';
import { referenceText, repositoryKey } from '../oci/reference.ts';
import {
  BUNDLE_CONTENTS,
  BUNDLE_VERSION,
  CONTAINERD_NAME,
  REF_NAME,
  arrayIn,
  bytesIn,
  digestIn,
  nameIn,
  objectIn,
  parseJson,
  textIn,
  type Json,
  blobName,
} from './contents.ts';
import { BundleError } from './error.ts';

const VERSION = '1';
const INDEX = objectOf({
  manifests: listOf(
    objectOf({
      digest: SCALAR,
      mediaType: SCALAR,
      size: SCALAR,
      annotations: objectOf({ [CONTAINERD_NAME]: SCALAR }),
    }),
  ),
  annotations: objectOf({ [BUNDLE_CONTENTS]: SCALAR, [BUNDLE_VERSION]: SCALAR }),
});

/** An image of a bundle. */
export interface BundledImage {
  readonly name: ImageName;
  readonly root: Descriptor;
}

/** The name with its host: `docker.io/library/golang:1.22`. */
export function wholeName({ repository, reference }: ImageName): string {
  const separator = reference.kind === 'tag' ? ':' : '@';
  return `${repositoryKey(repository)}${separator}${referenceText(reference)}`;
}

/** `index.json`. `contents` is the digest of `pierhead.json`. */
export function renderBundleIndex(images: readonly BundledImage[], contents: Digest): Buffer {
  const manifests = images.map(({ name, root: { mediaType, digest, size } }) => {
    const text = wholeName(name);
    return { mediaType, digest, size, annotations: { [CONTAINERD_NAME]: text, [REF_NAME]: text } };
  });
  const annotations = { [BUNDLE_CONTENTS]: contents, [BUNDLE_VERSION]: VERSION };
  return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests, annotations }));
}

/** Throws BundleError `not-a-bundle`, `version`, `corrupt`. */
export function parseBundleIndex(bytes: Buffer): {
  readonly images: readonly BundledImage[];
  readonly contents: Digest;
} {
  const document = parseJson(bytes, 'index.json', INDEX);
  const annotations = objectIn(document['annotations'] ?? {}, 'annotations of index.json');
  const version = annotations[BUNDLE_VERSION];
  if (version === undefined) {
    throw new BundleError('not-a-bundle', 'not a bundle: an OCI image layout that Pierhead did not write');
  }
  if (version !== VERSION) {
    const what = `the bundle has version ${JSON.stringify(version)}; this Pierhead reads version ${VERSION}`;
    throw new BundleError('version', what);
  }
  return {
    images: arrayIn(document['manifests'], 'manifests of index.json').map((entry) =>
      imageOf(objectIn(entry, 'an image')),
    ),
    contents: digestIn(annotations[BUNDLE_CONTENTS], BUNDLE_CONTENTS),
  };
}

function imageOf(entry: Json): BundledImage {
  const annotations = objectIn(entry['annotations'], 'annotations of an image');
  const text = nameIn(annotations[CONTAINERD_NAME], 'the name of an image');
  const name = parseImageName(text);
  if (name === undefined)
    throw new BundleError('corrupt', `${JSON.stringify(text)} is not the name of an image`);
  const root = {
    digest: digestIn(entry['digest'], `the digest of ${text}`),
    mediaType: textIn(entry['mediaType'], `the type of ${text}`),
    size: bytesIn(entry['size'], `the size of ${text}`),
  };
  if (name.reference.kind === 'digest' && name.reference.digest !== root.digest) {
    throw new BundleError('corrupt', `index.json gives ${text} the digest ${root.digest}`);
  }
  return { name, root };
}

/** An image for one platform, with its names. */
export interface DockerImage {
  readonly config: Digest;
  /** The base layer first. */
  readonly layers: readonly Digest[];
  readonly names: readonly ImageName[];
}

/**
 * `manifest.json` as `docker save` writes it, for programs that read no OCI layouts, such as Docker before 25. It has one
 * platform for each tag, and may have compressed layers (moby, image/tarexport/load.go). Names have a host, because Podman
 * reads `golang` as `localhost/golang`.
 */
export function renderDockerManifest(images: readonly DockerImage[]): Buffer {
  const items = images.map(({ config, layers, names }) => ({
    Config: blobName(config),
    RepoTags: names.filter(({ reference }) => reference.kind === 'tag').map(wholeName),
    Layers: layers.map(blobName),
  }));
  return Buffer.from(JSON.stringify(items));
}
