import { JsonError, JsonReader, type JsonLimits, listOf, objectOf, SCALAR } from '../lib/json.ts';
import { parseDigest, type Digest } from './digest.ts';
import {
  bareMediaType,
  isBlobEntryType,
  isFileLayerType,
  isForeignLayerType,
  isImageConfigType,
  isIndexType,
  isManifestType,
  isOldImageConfigType,
  OCI_INDEX,
  OCI_MANIFEST,
} from './media-types.ts';
import type { Platform } from './platform.ts';

/** OCI image-spec, descriptor.md; `size` in bytes. */
export interface Descriptor {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly size: number;
}

/**
 * A manifest exactly as its registry sent it. `bytes` always match the digest: a store that other servers write to
 * verifies it.
 */
export interface Manifest {
  /** Named by a tag or an index. */
  readonly descriptor: Descriptor;
  readonly bytes: Buffer;
}

export function manifestOf({
  digest,
  mediaType,
  bytes,
}: Omit<Descriptor, 'size'> & { readonly bytes: Buffer }): Manifest {
  return { descriptor: { digest, mediaType, size: bytes.length }, bytes };
}

/** An entry of an index. Annotations are kept only if they name the manifest that the entry belongs to. */
export interface IndexEntry extends Descriptor {
  readonly platform?: Platform;
  readonly annotations?: Readonly<Record<string, string>>;
}

/**
 * The digest of the manifest that an attestation is about; undefined if the entry is not an attestation (BuildKit,
 * docs/attestations/attestation-storage.md).
 */
export function attestedDigest({ annotations }: IndexEntry): Digest | undefined {
  if (annotations?.['vnd.docker.reference.type'] !== 'attestation-manifest') return undefined;
  return parseDigest(annotations['vnd.docker.reference.digest'] ?? '');
}

/** True if an entry of an index belongs to another entry and is not an image. */
export function isAttestation({ annotations }: IndexEntry): boolean {
  return annotations?.['vnd.docker.reference.type'] !== undefined;
}

/** The parts of a manifest that a cache needs. */
export type ManifestContent =
  | { readonly kind: 'index'; readonly entries: readonly IndexEntry[] }
  | {
      readonly kind: 'image';
      readonly config: Descriptor;
      readonly layers: readonly Descriptor[];
      /** Layers that the registry need not have (`urls`, or a non-distributable type). */
      readonly foreign: readonly Descriptor[];
    };

/** Limit on indexes inside indexes. Manifests below it are not served. */
export const MAX_INDEX_DEPTH = 4;

/** The blobs of a manifest, without foreign layers. The index of a BuildKit cache names layers. */
export function blobsOf(content: ManifestContent): readonly Descriptor[] {
  return content.kind === 'index'
    ? content.entries.filter(({ mediaType }) => isBlobEntryType(mediaType))
    : [content.config, ...content.layers];
}

/** The message for a manifest of schema 1. */
export const SCHEMA_1 = 'Docker schema 1 manifests are no longer supported; rebuild or re-push the image';

const MAX_SHOWN_TYPE = 128;
export const MAX_MANIFEST_BYTES = 4 * 1024 * 1024;
/** Limit on entries of an index and on layers: each becomes records in the stores. */
const MAX_DESCRIPTORS = 12_000;
/** About 16 values and keys for each descriptor. A manifest at these limits is read in about 30 ms. */
export const MANIFEST_LIMITS: JsonLimits = { maxDepth: 100, maxValues: 200_000, maxKeys: 200_000 };

const DESCRIPTOR = { digest: SCALAR, mediaType: SCALAR, size: SCALAR };
const ENTRY = objectOf({
  ...DESCRIPTOR,
  platform: objectOf({
    os: SCALAR,
    architecture: SCALAR,
    variant: SCALAR,
    'os.version': SCALAR,
    'os.features': listOf(SCALAR),
  }),
  annotations: objectOf({
    'vnd.docker.reference.type': SCALAR,
    'vnd.docker.reference.digest': SCALAR,
  }),
});

/** The parts of a manifest that are built. A manifest may be 4 MiB of arbitrary JSON. */
const DOCUMENT = objectOf({
  schemaVersion: SCALAR,
  mediaType: SCALAR,
  config: objectOf(DESCRIPTOR),
  layers: listOf(objectOf({ ...DESCRIPTOR, urls: SCALAR }), MAX_DESCRIPTORS),
  manifests: listOf(ENTRY, MAX_DESCRIPTORS),
});

/** The bytes are not a manifest that Pierhead can serve; `message` says why, for people. */
export class ManifestInvalidError extends Error {
  override readonly name = 'ManifestInvalidError';
  /** `schema-1`: Docker's retired manifest format. */
  readonly code: 'manifest-invalid' | 'schema-1';

  constructor(
    message: string,
    options: { readonly cause?: unknown; readonly code?: 'manifest-invalid' | 'schema-1' } = {},
  ) {
    super(message, { cause: options.cause });
    this.code = options.code ?? 'manifest-invalid';
  }
}

/**
 * True if a manifest is an image that runs, and so useless without its blobs. Charts have other configs. Attestations
 * of BuildKit and signatures of cosign have an image's config but no layers of files, and clients do not need them.
 */
export function isRunnableImage(content: ManifestContent): boolean {
  if (content.kind === 'index') return false;
  const { config, layers } = content;
  const hasFiles = layers.some(({ mediaType }) => isFileLayerType(mediaType));
  if (isImageConfigType(config.mediaType)) return layers.length === 0 || hasFiles;
  return isOldImageConfigType(config.mediaType) && hasFiles;
}

type Json = Readonly<Record<string, unknown>>;
/** For building entries member by member: with spreads, 10,000 entries take several times as long. */
type Mutable<T> = { -readonly [K in keyof T]: T[K] };

export interface ParsedManifest {
  readonly mediaType: string;
  readonly content: ManifestContent;
}

/** Parsed manifests by their bytes: most steps of a pull parse the manifest again. */
const parsed = new WeakMap<Buffer, ParsedManifest>();

/**
 * Parses a manifest and chooses the media type to serve it under: `contentType` if that is a manifest type, else the
 * document's own `mediaType`. Parses the same bytes once. Throws ManifestInvalidError if the document is not JSON,
 * contradicts `contentType`, has schema 1, exceeds a limit, or has a malformed descriptor.
 */
export function parseManifest(bytes: Buffer, contentType: string): ParsedManifest {
  const known = parsed.get(bytes);
  if (known?.mediaType === contentType) return known;
  const manifest = read(bytes, contentType);
  parsed.set(bytes, manifest);
  return manifest;
}

function read(bytes: Buffer, contentType: string): ParsedManifest {
  const document = readDocument(bytes);
  if (document['schemaVersion'] === 1) {
    throw new ManifestInvalidError(SCHEMA_1, { code: 'schema-1' });
  }
  if (document['schemaVersion'] !== 2)
    throw new ManifestInvalidError('not a manifest: schemaVersion is not 2');
  const mediaType = effectiveMediaType(document, bareMediaType(contentType));
  if (isIndexType(mediaType))
    return { mediaType, content: { kind: 'index', entries: indexEntries(document) } };
  return { mediaType, content: imageContent(document) };
}

function readDocument(bytes: Buffer): Json {
  let document: unknown;
  try {
    document = new JsonReader(bytes, MANIFEST_LIMITS).read(DOCUMENT);
  } catch (cause) {
    if (!(cause instanceof JsonError)) throw cause;
    const why = cause.code === 'malformed' ? 'not a manifest: not JSON' : `the manifest ${cause.message}`;
    throw new ManifestInvalidError(why, { cause });
  }
  if (!isObject(document)) throw new ManifestInvalidError('not a manifest: not a JSON object');
  return document;
}

function effectiveMediaType(document: Json, sentType: string): string {
  const stated = document['mediaType'];
  const sentIsManifest = isManifestType(sentType);
  if (typeof stated === 'string' && stated !== '') {
    // Clients reject a body whose mediaType contradicts the header (moby checkSupportedMediaType, containerd).
    if (sentIsManifest && stated !== sentType) {
      throw new ManifestInvalidError(
        `manifest has mediaType ${shownType(stated)} but was sent as ${sentType}`,
      );
    }
    if (!isManifestType(stated)) {
      throw new ManifestInvalidError(`unsupported manifest type ${shownType(stated)}`);
    }
    return stated;
  }
  if (sentIsManifest) return sentType;
  const looks = sentType.startsWith('application/vnd.') ? undefined : looksLike(document);
  if (looks !== undefined) return looks;
  throw new ManifestInvalidError(`unsupported manifest type ${sentType === '' ? '(none)' : sentType}`);
}

/**
 * The type of a manifest without `mediaType` that was sent as plain JSON, text or bytes. Object stores do this when
 * Gitea redirects to them. Docker's manifests have a `mediaType`; OCI's need not (image-spec, "mediaType").
 */
function looksLike(document: Json): string | undefined {
  if (Array.isArray(document['manifests'])) return OCI_INDEX;
  return isObject(document['config']) && Array.isArray(document['layers']) ? OCI_MANIFEST : undefined;
}

/** The stated type may be as long as the manifest. */
function shownType(mediaType: string): string {
  return mediaType.length > MAX_SHOWN_TYPE ? `${mediaType.slice(0, MAX_SHOWN_TYPE)}…` : mediaType;
}

function indexEntries(document: Json): IndexEntry[] {
  return listIn(document, 'manifests').flatMap((entry) => {
    if (!isObject(entry)) throw new ManifestInvalidError('an entry of the index is not an object');
    if (isOfOtherAlgorithm(entry)) return [];
    const parsedEntry: Descriptor & Mutable<Pick<IndexEntry, 'platform' | 'annotations'>> =
      descriptorOf(entry);
    const platform = platformOf(entry['platform']);
    const annotations = textsOf(entry['annotations']);
    if (platform !== undefined) parsedEntry.platform = platform;
    if (annotations !== undefined) parsedEntry.annotations = annotations;
    return parsedEntry;
  });
}

function imageContent(document: Json): ManifestContent {
  const config = document['config'];
  if (!isObject(config)) throw new ManifestInvalidError('the manifest has no config');
  const held: Descriptor[] = [];
  const foreign: Descriptor[] = [];
  for (const layer of listIn(document, 'layers')) {
    if (!isObject(layer)) throw new ManifestInvalidError('a layer is not an object');
    if (isOfOtherAlgorithm(layer)) continue;
    const descriptor = descriptorOf(layer);
    const elsewhere = isForeignLayerType(descriptor.mediaType) || Array.isArray(layer['urls']);
    (elsewhere ? foreign : held).push(descriptor);
  }
  return { kind: 'image', config: descriptorOf(config), layers: held, foreign };
}

/** Go programs write an empty list as `null` or omit it, and registries keep that. */
function listIn(document: Json, key: 'layers' | 'manifests'): readonly unknown[] {
  const list = document[key];
  if (list === undefined || list === null) return [];
  if (!Array.isArray(list)) throw new ManifestInvalidError(`${key} of the manifest is not a list`);
  return list;
}

/**
 * An algorithm that Pierhead cannot verify. Such an entry is skipped; the rest is valid (OCI image-spec,
 * descriptor.md "Digests").
 */
function isOfOtherAlgorithm({ digest }: Json): boolean {
  return (
    typeof digest === 'string' &&
    /^(?!sha(?:256|512):)[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[A-Za-z0-9=_-]+$/.test(digest)
  );
}

function descriptorOf(entry: Json): Descriptor {
  const digest = typeof entry['digest'] === 'string' ? parseDigest(entry['digest']) : undefined;
  const { mediaType, size } = entry;
  if (digest === undefined) throw new ManifestInvalidError('a descriptor has a malformed digest');
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) {
    throw new ManifestInvalidError(`the descriptor of ${digest} has a malformed size`);
  }
  return { digest, mediaType: typeof mediaType === 'string' ? mediaType : '', size };
}

/**
 * A missing part is empty, as in containerd. A part that is not text makes the platform `unknown`, which no machine
 * matches.
 */
function platformOf(value: unknown): Platform | undefined {
  if (!isObject(value)) return undefined;
  const platform: Mutable<Platform> = {
    os: platformPart(value['os']),
    architecture: platformPart(value['architecture']),
  };
  const variant = platformPart(value['variant']);
  const osVersion = platformPart(value['os.version']);
  const osFeatures = value['os.features'];
  if (variant !== '') platform.variant = variant;
  if (osVersion !== '') platform.osVersion = osVersion;
  if (Array.isArray(osFeatures)) {
    platform.osFeatures = osFeatures.filter((feature) => typeof feature === 'string');
  }
  return platform;
}

function platformPart(value: unknown): string {
  if (value === undefined || value === null) return '';
  return typeof value === 'string' ? value : 'unknown';
}

function textsOf(value: unknown): Record<string, string> | undefined {
  if (!isObject(value)) return undefined;
  const texts: Record<string, string> = {};
  for (const [name, text] of Object.entries(value)) if (typeof text === 'string') texts[name] = text;
  return texts;
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
