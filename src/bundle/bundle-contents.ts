import { listOf, objectOf, SCALAR } from '../lib/json-shape.ts';
import type { Digest } from '../oci/digest.ts';
import type { Descriptor } from '../oci/manifest.ts';
import { parseRepositoryName } from '../oci/image-name.ts';
import { repositoryKey, type Repository } from '../oci/reference.ts';
import { BundleError } from './bundle-error.ts';
import { FILES } from './bundle-layout.ts';
import { arrayIn, bytesIn, digestIn, nameIn, objectIn, parseJson, textIn } from './json.ts';

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
