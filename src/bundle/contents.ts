import {
  JsonError,
  JsonReader,
  type JsonLimits,
  type JsonShape,
  listOf,
  objectOf,
  SCALAR,
} from '../lib/json.ts';
import { digestAlgorithm, digestHex, type Digest, parseDigest } from '../oci/digest.ts';
import { parseRepositoryName } from '../oci/image-name.ts';
import type { Descriptor } from '../oci/manifest.ts';
import { repositoryKey, type Repository } from '../oci/reference.ts';
import { BundleError } from './error.ts';

/*
 * A bundle is an OCI image layout in a tar (OCI image-spec, image-layout.md), in this order:
 *   oci-layout
 *   index.json        the images by name, and the digest of pierhead.json
 *   index.json.sig    Ed25519 over the bytes of index.json, base64; only if it is signed
 *   pierhead.json     the files behind it in their order, and the blobs that must be cached already
 *   manifest.json     the same images for programs without OCI layouts (docker save); only if there are any
 *   blobs/sha256/…    manifests and referrers, then blobs
 * So a reader has all names and digests before the first blob. The digest of pierhead.json is in index.json, and the digests
 * of all other files are in pierhead.json.
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

/** Annotations of an image: names for `skopeo` and for `ctr images import`. */
export const REF_NAME = 'org.opencontainers.image.ref.name';
export const CONTAINERD_NAME = 'io.containerd.image.name';

/** The path of a blob in the archive. */
export function blobName(digest: Digest): string {
  return `blobs/${digestAlgorithm(digest)}/${digestHex(digest)}`;
}

const MAX_NAME_LENGTH = 640;
/** Parsing 64 MiB of `{},` takes a minute and 2 GB. A real bundle has one value in 30 bytes. */
const LIMITS: JsonLimits = { maxDepth: 32, maxValues: 2_000_000, maxKeys: 2_000_000 };

/** JSON from an untrusted bundle. The readers below throw BundleError `corrupt`, which names `what`. */
export type Json = Readonly<Record<string, unknown>>;

export function parseJson(bytes: Buffer, what: string, shape: JsonShape): Json {
  try {
    return objectIn(new JsonReader(bytes, LIMITS).read(shape), what);
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    const why = error.code === 'malformed' ? 'is not JSON' : 'has too many values';
    throw new BundleError('corrupt', `${what} ${why}`, error);
  }
}

export function objectIn(value: unknown, what: string): Json {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Json;
  throw new BundleError('corrupt', `${what} is not an object`);
}

export function arrayIn(value: unknown, what: string): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw new BundleError('corrupt', `${what} is not a list`);
}

export function textIn(value: unknown, what: string): string {
  if (typeof value === 'string') return value;
  throw new BundleError('corrupt', `${what} is not a string`);
}

/** A text for a key of the LMDB index, whose length is limited. */
export function nameIn(value: unknown, what: string): string {
  const text = textIn(value, what);
  if (text.length <= MAX_NAME_LENGTH) return text;
  throw new BundleError('corrupt', `${what} has ${text.length} characters; allowed: ${MAX_NAME_LENGTH}`);
}

export function digestIn(value: unknown, what: string): Digest {
  const digest = parseDigest(textIn(value, what));
  if (digest === undefined) throw new BundleError('corrupt', `${what} is not a digest`);
  return digest;
}

export function bytesIn(value: unknown, what: string): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw new BundleError('corrupt', `${what} is not a size`);
}

/** A blob that a bundle holds or needs. */
export interface BundledBlob {
  readonly digest: Digest;
  readonly size: number;
}

/** The referrers of a manifest: an index, as upstream sent it. */
export interface BundledReferrers {
  readonly repository: Repository;
  readonly subject: Digest;
  readonly list: BundledBlob;
}

/** The files of a bundle, in their order. */
export interface BundleContents {
  readonly manifests: readonly Descriptor[];
  readonly referrers: readonly BundledReferrers[];
  readonly blobs: readonly BundledBlob[];
  /** Blobs that `export --since` left out: the other site has them. */
  readonly base: readonly BundledBlob[];
  /** The digest of `manifest.json`; undefined: the bundle has no such file. */
  readonly docker: Digest | undefined;
}

const BLOB = { digest: SCALAR, size: SCALAR };
const CONTENTS = objectOf({
  manifests: listOf(objectOf({ ...BLOB, mediaType: SCALAR })),
  referrers: listOf(objectOf({ ...BLOB, repository: SCALAR, subject: SCALAR })),
  blobs: listOf(objectOf(BLOB)),
  base: listOf(objectOf(BLOB)),
  docker: SCALAR,
});

/** `pierhead.json`. The same contents give the same bytes. */
export function renderBundleContents({ manifests, referrers, blobs, base, docker }: BundleContents): Buffer {
  return Buffer.from(
    JSON.stringify({
      manifests: manifests.map(({ digest, mediaType, size }) => ({ digest, mediaType, size })),
      referrers: referrers.map(({ repository, subject, list }) => ({
        repository: repositoryKey(repository),
        subject,
        ...plain(list),
      })),
      blobs: blobs.map(plain),
      base: base.map(plain),
      docker,
    }),
  );
}

/** Throws BundleError `corrupt`. */
export function parseBundleContents(bytes: Buffer): BundleContents {
  const document = parseJson(bytes, FILES.contents, CONTENTS);
  const list = <T>(key: string, parse: (item: unknown) => T): T[] =>
    arrayIn(document[key], `${key} of ${FILES.contents}`).map(parse);
  const { docker } = document;
  return {
    manifests: list('manifests', (item) => ({
      ...blobIn(item),
      mediaType: textIn(objectIn(item, 'a manifest')['mediaType'], 'the type of a manifest'),
    })),
    referrers: list('referrers', referrersIn),
    blobs: list('blobs', blobIn),
    base: list('base', blobIn),
    docker: docker === undefined ? undefined : digestIn(docker, `docker of ${FILES.contents}`),
  };
}

function plain({ digest, size }: BundledBlob): BundledBlob {
  return { digest, size };
}

function blobIn(item: unknown): BundledBlob {
  const { digest, size } = objectIn(item, 'a blob');
  const known = digestIn(digest, 'the digest of a blob');
  return { digest: known, size: bytesIn(size, `the size of ${known}`) };
}

function referrersIn(item: unknown): BundledReferrers {
  const { repository: key, subject } = objectIn(item, 'a list of referrers');
  const repository = parseRepositoryName(nameIn(key, 'the repository of a list of referrers'));
  if (repository === undefined) {
    throw new BundleError('corrupt', `${JSON.stringify(key)} is not the name of a repository`);
  }
  return { repository, subject: digestIn(subject, 'the subject of a list of referrers'), list: blobIn(item) };
}
