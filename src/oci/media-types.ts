/** Media types of manifests: OCI image-spec media-types.md; Docker image manifest v2 schema 2. */
export const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';
export const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
export const DOCKER_LIST = 'application/vnd.docker.distribution.manifest.list.v2+json';
export const DOCKER_MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json';

/** What upstream is always asked for, so that what comes back does not depend on the client (one line, as containerd). */
export const UPSTREAM_ACCEPT = [OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST, '*/*'].join(', ');

export function isIndexType(mediaType: string): boolean {
  return mediaType === OCI_INDEX || mediaType === DOCKER_LIST;
}

export function isImageManifestType(mediaType: string): boolean {
  return mediaType === OCI_MANIFEST || mediaType === DOCKER_MANIFEST;
}

export function isManifestType(mediaType: string): boolean {
  return isIndexType(mediaType) || isImageManifestType(mediaType);
}

/** The config of an image that can be run. */
export function isImageConfigType(mediaType: string): boolean {
  return (
    mediaType === 'application/vnd.oci.image.config.v1+json' ||
    mediaType === 'application/vnd.docker.container.image.v1+json'
  );
}

/**
 * What Docker takes for the config of an image besides: Docker 1.10 pushed such, and some tools still name no type (moby,
 * `daemon/internal/distribution`, `defaultImageTypes`).
 */
export function isOldImageConfigType(mediaType: string): boolean {
  return ['application/octet-stream', 'text/html', ''].includes(mediaType);
}

/** Docker's retired schema 1, signed or not: clients have dropped it, and so have we. */
export function isSchema1Type(mediaType: string): boolean {
  return mediaType.startsWith('application/vnd.docker.distribution.manifest.v1+');
}

/** Layers of files, packed and encrypted however they are (containerd, images.IsLayerType). */
export function isFileLayerType(mediaType: string): boolean {
  return (
    mediaType.startsWith('application/vnd.oci.image.layer.') ||
    mediaType.startsWith('application/vnd.docker.image.rootfs.')
  );
}

/** Build caches of BuildKit are indexes of layers and one config (its cache/remotecache/export.go). */
export function isBlobEntryType(mediaType: string): boolean {
  return /\.layer\.|\.rootfs\.|\.cacheconfig\./.test(mediaType);
}

/** Layers that live elsewhere: registries neither hold them nor check that they exist (Windows base layers). */
export function isForeignLayerType(mediaType: string): boolean {
  return mediaType.includes('.nondistributable.') || mediaType.includes('.foreign.');
}

/** The type of a `Content-Type` header without its parameters, lower case. */
export function bareMediaType(header: string): string {
  const semicolon = header.indexOf(';');
  return (semicolon < 0 ? header : header.slice(0, semicolon)).trim().toLowerCase();
}

/**
 * What accepts every manifest: all of them are `application/…+json`. Scripts name plain JSON, and Java's own client a
 * lone `*` (`HttpURLConnection`); Docker Hub answers both by what it has.
 */
const ANYTHING: ReadonlySet<string> = new Set(['*/*', '*', 'application/*', 'application/json']);

/**
 * True if a client that sent `accept` (all its Accept lines joined by commas) can be given `mediaType`. Absent and empty
 * accept everything; parameters such as `q` are ignored, as distribution does: clients list manifest types to say what
 * they can read, not what they prefer.
 */
export function accepts(accept: string | undefined, mediaType: string): boolean {
  if (accept === undefined || accept.trim() === '') return true;
  for (const element of accept.split(',')) {
    const semicolon = element.indexOf(';');
    const range = (semicolon < 0 ? element : element.slice(0, semicolon)).trim().toLowerCase();
    if (range === mediaType || ANYTHING.has(range)) return true;
  }
  return false;
}
