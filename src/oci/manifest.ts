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

/** A manifest exactly as its registry sent it. `bytes` always hash to the digest: stores that others can write verify. */
export interface Manifest {
  /** As a tag or an index names it. */
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

/** An entry of an index, with those of its annotations that say what it belongs to. */
export interface IndexEntry extends Descriptor {
  readonly platform?: Platform;
  readonly annotations?: Readonly<Record<string, string>>;
}

/**
 * The digest of the manifest that an entry of an index speaks of, undefined if it is no attestation (BuildKit,
 * docs/attestations/attestation-storage.md).
 */
export function attestedDigest({ annotations }: IndexEntry): Digest | undefined {
  if (annotations?.['vnd.docker.reference.type'] !== 'attestation-manifest') return undefined;
  return parseDigest(annotations['vnd.docker.reference.digest'] ?? '');
}

/** Whether an entry of an index says that it belongs to another one and is no image. */
export function isAttestation({ annotations }: IndexEntry): boolean {
  return annotations?.['vnd.docker.reference.type'] !== undefined;
}

/** What a manifest names, as far as a cache cares. */
export type ManifestContent =
  | { readonly kind: 'index'; readonly entries: readonly IndexEntry[] }
  | {
      readonly kind: 'image';
      readonly config: Descriptor;
      readonly layers: readonly Descriptor[];
      /** Layers that the registry need not hold (`urls`, or a non-distributable type). */
      readonly foreign: readonly Descriptor[];
    };

/** Indexes inside indexes: no client is given what lies deeper. */
export const MAX_INDEX_DEPTH = 4;

/** What a manifest needs that is no manifest, foreign layers left out. An index can be a cache of BuildKit, and name layers. */
export function blobsOf(content: ManifestContent): readonly Descriptor[] {
  return content.kind === 'index'
    ? content.entries.filter(({ mediaType }) => isBlobEntryType(mediaType))
    : [content.config, ...content.layers];
}

/** Why a manifest of that schema is refused. */
export const SCHEMA_1 = 'Docker schema 1 manifests are no longer supported; rebuild or re-push the image';

const MAX_SHOWN_TYPE = 128;
export const MAX_MANIFEST_BYTES = 4 * 1024 * 1024;
/** Entries of an index, or layers: each becomes records in the stores. */
const MAX_DESCRIPTORS = 12_000;
/** Some sixteen of each for every descriptor. All of it is read within some 30 ms. */
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

/** What a cache cares for. Nothing else of a manifest is built: it may be four megabytes of anything. */
const DOCUMENT = objectOf({
  schemaVersion: SCALAR,
  mediaType: SCALAR,
  config: objectOf(DESCRIPTOR),
  layers: listOf(objectOf({ ...DESCRIPTOR, urls: SCALAR }), MAX_DESCRIPTORS),
  manifests: listOf(ENTRY, MAX_DESCRIPTORS),
});

/** The bytes are no manifest that we can serve; `message` says why, for people. */
export class ManifestInvalidError extends Error {
  override readonly name = 'ManifestInvalidError';
  /** `schema-1`: one of a kind that is served no longer. */
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
 * Whether a manifest is that of an image, which is of no use without its blobs. Others have their own configs (charts) or
 * layers that hold no files: what BuildKit and cosign state on an image has an image's config, of which clients have no
 * need.
 */
export function isRunnableImage(content: ManifestContent): boolean {
  if (content.kind === 'index') return false;
  const { config, layers } = content;
  const hasFiles = layers.some(({ mediaType }) => isFileLayerType(mediaType));
  if (isImageConfigType(config.mediaType)) return layers.length === 0 || hasFiles;
  return isOldImageConfigType(config.mediaType) && hasFiles;
}

type Json = Readonly<Record<string, unknown>>;
/** While it is put together, member by member: ten thousand of them by spreads take several times as long. */
type Mutable<T> = { -readonly [K in keyof T]: T[K] };

export interface ParsedManifest {
  readonly mediaType: string;
  readonly content: ManifestContent;
}

/** What was read goes along with the bytes, since a manifest is looked into at every step of its way. */
const parsed = new WeakMap<Buffer, ParsedManifest>();

/**
 * Parses a manifest and the media type that it is to be served under: `contentType` if that is a manifest type,
 * else the `mediaType` that the document itself states. Throws ManifestInvalidError if it is not JSON, states
 * another type than it was sent with, is of a retired schema, holds too much, or has a malformed descriptor. The same
 * bytes are read once.
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
        `manifest says mediaType ${shownType(stated)} but was sent as ${sentType}`,
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
 * The type of a manifest that states none and was sent as mere JSON, text or bytes, as object stores send it to which
 * Gitea redirects: Docker's manifests state theirs, those of OCI need not (image-spec, "mediaType").
 */
function looksLike(document: Json): string | undefined {
  if (Array.isArray(document['manifests'])) return OCI_INDEX;
  return isObject(document['config']) && Array.isArray(document['layers']) ? OCI_MANIFEST : undefined;
}

/** It may be as long as a manifest may be. */
function shownType(mediaType: string): string {
  return mediaType.length > MAX_SHOWN_TYPE ? `${mediaType.slice(0, MAX_SHOWN_TYPE)}…` : mediaType;
}

function indexEntries(document: Json): IndexEntry[] {
  return listIn(document, 'manifests').flatMap((entry) => {
    if (!isObject(entry)) throw new ManifestInvalidError('index entry is not an object');
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
  if (!isObject(config)) throw new ManifestInvalidError('manifest without config');
  const held: Descriptor[] = [];
  const foreign: Descriptor[] = [];
  for (const layer of listIn(document, 'layers')) {
    if (!isObject(layer)) throw new ManifestInvalidError('layer is not an object');
    if (isOfOtherAlgorithm(layer)) continue;
    const descriptor = descriptorOf(layer);
    const elsewhere = isForeignLayerType(descriptor.mediaType) || Array.isArray(layer['urls']);
    (elsewhere ? foreign : held).push(descriptor);
  }
  return { kind: 'image', config: descriptorOf(config), layers: held, foreign };
}

/** Programs in Go write an empty list as `null` or not at all, and registries keep that. */
function listIn(document: Json, key: 'layers' | 'manifests'): readonly unknown[] {
  const list = document[key];
  if (list === undefined || list === null) return [];
  if (!Array.isArray(list)) throw new ManifestInvalidError(`${key} of the manifest is no list`);
  return list;
}

/** Of no use to whoever cannot verify it, and no fault of the rest (OCI image-spec, descriptor.md "Digests"). */
function isOfOtherAlgorithm({ digest }: Json): boolean {
  return (
    typeof digest === 'string' &&
    /^(?!sha(?:256|512):)[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[A-Za-z0-9=_-]+$/.test(digest)
  );
}

function descriptorOf(entry: Json): Descriptor {
  const digest = typeof entry['digest'] === 'string' ? parseDigest(entry['digest']) : undefined;
  const { mediaType, size } = entry;
  if (digest === undefined) throw new ManifestInvalidError('descriptor with a malformed digest');
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) {
    throw new ManifestInvalidError(`descriptor of ${digest} with a malformed size`);
  }
  return { digest, mediaType: typeof mediaType === 'string' ? mediaType : '', size };
}

/** A missing part is empty, as containerd reads it; one that is no text is for no machine. */
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
