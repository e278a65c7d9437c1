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

const MAX_NAME_LENGTH = 640;
/** 64 MiB of `{},` keep a server busy for a minute and take 2 GB. What is genuine has a value in 30 bytes. */
const LIMITS: JsonLimits = { maxDepth: 32, maxValues: 2_000_000, maxKeys: 2_000_000 };

/** Reading JSON that anybody may have written: each throws BundleError `corrupt`, which names `what`. */
export type Json = Readonly<Record<string, unknown>>;

export function parseJson(bytes: Buffer, what: string, shape: JsonShape): Json {
  try {
    return objectIn(new JsonReader(bytes, LIMITS).read(shape), what);
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    const why = error.code === 'malformed' ? 'is not JSON' : 'holds too many things';
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
  throw new BundleError('corrupt', `${what} is not a text`);
}

/** What becomes part of a key, whose length is limited. */
export function nameIn(value: unknown, what: string): string {
  const text = textIn(value, what);
  if (text.length <= MAX_NAME_LENGTH) return text;
  throw new BundleError('corrupt', `${what} has ${text.length} characters`);
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

/** Bytes that a bundle holds, or builds on. */
export interface BundledBlob {
  readonly digest: Digest;
  readonly size: number;
}

/** What refers to a manifest of the bundle: an index, as upstream told it. */
export interface BundledReferrers {
  readonly repository: Repository;
  readonly subject: Digest;
  readonly list: BundledBlob;
}

/** What lies in a bundle, in its order. */
export interface BundleContents {
  readonly manifests: readonly Descriptor[];
  readonly referrers: readonly BundledReferrers[];
  readonly blobs: readonly BundledBlob[];
  /** What its images need and it does not hold, because the other side has it. */
  readonly base: readonly BundledBlob[];
  /** Of `manifest.json`; undefined: there is none. */
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

/** `pierhead.json`: the same for the same contents. */
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
      ...(docker === undefined ? {} : { docker }),
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
