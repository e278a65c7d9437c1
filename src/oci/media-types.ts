/** Media types of manifests: OCI image-spec media-types.md; Docker image manifest v2 schema 2. */
export const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';
export const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
export const DOCKER_LIST = 'application/vnd.docker.distribution.manifest.list.v2+json';
export const DOCKER_MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json';

/**
 * Sent to upstreams whatever the client accepts, so that answers do not depend on the client. One line, as containerd
 * sends it.
 */
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

/** Configs of images that run. */
export function isImageConfigType(mediaType: string): boolean {
  return (
    mediaType === 'application/vnd.oci.image.config.v1+json' ||
    mediaType === 'application/vnd.docker.container.image.v1+json'
  );
}

/**
 * Other types that Docker accepts as the config of an image: Docker 1.10 pushed such configs, and some tools still
 * send no type (moby, `daemon/internal/distribution`, `defaultImageTypes`).
 */
export function isOldImageConfigType(mediaType: string): boolean {
  return ['application/octet-stream', 'text/html', ''].includes(mediaType);
}

/** Docker's retired schema 1, signed or not. Clients and Pierhead no longer read it. */
export function isSchema1Type(mediaType: string): boolean {
  return mediaType.startsWith('application/vnd.docker.distribution.manifest.v1+');
}

/** Layers of files, whatever their compression and encryption (containerd, images.IsLayerType). */
export function isFileLayerType(mediaType: string): boolean {
  return (
    mediaType.startsWith('application/vnd.oci.image.layer.') ||
    mediaType.startsWith('application/vnd.docker.image.rootfs.')
  );
}

/**
 * Entries that are blobs: build caches of BuildKit are indexes of layers and one config (BuildKit,
 * cache/remotecache/export.go).
 */
export function isBlobEntryType(mediaType: string): boolean {
  return /\.layer\.|\.rootfs\.|\.cacheconfig\./.test(mediaType);
}

/** Layers that registries neither hold nor check (Windows base layers). */
export function isForeignLayerType(mediaType: string): boolean {
  return mediaType.includes('.nondistributable.') || mediaType.includes('.foreign.');
}

/** The type of a `Content-Type` header without its parameters, lower case. */
export function bareMediaType(header: string): string {
  const semicolon = header.indexOf(';');
  return (semicolon < 0 ? header : header.slice(0, semicolon)).trim().toLowerCase();
}

/**
 * Ranges that accept every manifest: all types are `application/…+json`. Scripts send plain JSON, and Java's
 * `HttpURLConnection` a lone `*`; Docker Hub answers both with any manifest.
 */
const ANYTHING: ReadonlySet<string> = new Set(['*/*', '*', 'application/*', 'application/json']);

/**
 * True if a client that sent `accept` (all its Accept lines joined by commas) accepts `mediaType`. An absent or empty
 * `accept` accepts every type. Parameters such as `q` are ignored, as in distribution: clients list what they can
 * read, not what they prefer.
 */
export function accepts(accept: string | undefined, mediaType: string): boolean {
  if (accept === undefined || accept.trim() === '') return true;
  if (isListed(accept, mediaType)) return true;
  for (const element of accept.split(',')) {
    const semicolon = element.indexOf(';');
    const range = (semicolon < 0 ? element : element.slice(0, semicolon)).trim().toLowerCase();
    if (range === mediaType || ANYTHING.has(range)) return true;
  }
  return false;
}

/** Whether the list has the type as most clients write it: `a, b` or `a,b`. Saves them the look at each element. */
function isListed(accept: string, mediaType: string): boolean {
  const start = accept.indexOf(mediaType);
  if (start < 0) return false;
  const before = accept.slice(Math.max(0, start - 2), start);
  const after = accept.charAt(start + mediaType.length);
  return (before === '' || before === ', ' || before.endsWith(',')) && (after === '' || after === ',');
}
