import type { Digest } from '../oci/digest.ts';
import type { ImageName } from '../oci/image-name.ts';
import {
  blobsOf,
  isRunnableImage,
  ManifestInvalidError,
  parseManifest,
  type Descriptor,
  type ManifestContent,
  type Manifest,
} from '../oci/manifest.ts';
import { OCI_INDEX } from '../oci/media-types.ts';
import { repositoryKey, type Repository } from '../oci/reference.ts';
import { FILES } from './contents.ts';
import { BundleError } from './error.ts';
import type { BundleHead, ReferrersList } from './reader.ts';

export interface ReadManifest extends Manifest {
  readonly content: ManifestContent;
  /** The foreign layers that the bundle holds. Of others, the author of a manifest need not have the bytes. */
  readonly foreign: readonly Descriptor[];
}

/** An image or the referrers of a manifest. In `manifests`, the root is last. */
export type BundledUnit = { readonly repository: Repository; readonly manifests: readonly ReadManifest[] } & (
  | { readonly kind: 'image'; readonly name: ImageName; readonly root: ReadManifest }
  | { readonly kind: 'referrers'; readonly list: ReferrersList }
);

/**
 * Splits a bundle into units. Throws BundleError `corrupt` if an image has no manifest, or names a blob that pierhead.json
 * does not list.
 */
export function unitsOf(
  { images, contents }: BundleHead,
  manifests: ReadonlyMap<Digest, Manifest>,
  referrers: readonly ReferrersList[],
): BundledUnit[] {
  const held = new Set([...contents.blobs, ...contents.base].map(({ digest }) => digest));
  const read = new Map([...manifests].map(([digest, manifest]) => [digest, parsed(manifest, held)]));
  for (const { descriptor, content } of read.values()) {
    // The export reported partial attestations, and only Docker 29 needs these.
    if (!isRunnableImage(content)) continue;
    const missing = blobsOf(content).find((blob) => !held.has(blob.digest));
    if (missing === undefined) continue;
    const names = `${descriptor.digest} names ${missing.digest}`;
    throw new BundleError('corrupt', `${names}, which ${FILES.contents} does not list`);
  }
  // Walks each root once: a hostile bundle can give one image 100,000 names.
  const parts = new Map<Digest, ReadManifest[]>();
  const partsOf = ({ descriptor }: ReadManifest): ReadManifest[] => {
    const known = parts.get(descriptor.digest) ?? below([descriptor], read);
    parts.set(descriptor.digest, known);
    return known;
  };
  return [
    ...images.map(({ name, root: { digest } }): BundledUnit => {
      const root = read.get(digest);
      if (root === undefined) throw new BundleError('corrupt', `the manifest ${digest} is missing`);
      return { kind: 'image', repository: name.repository, name, root, manifests: partsOf(root) };
    }),
    ...referrers.map((list): BundledUnit => ({
      kind: 'referrers',
      repository: list.repository,
      list,
      manifests: below(entriesOf(list), read),
    })),
  ];
}

function parsed({ descriptor, bytes }: Manifest, held: ReadonlySet<Digest>): ReadManifest {
  try {
    const { mediaType, content } = parseManifest(bytes, descriptor.mediaType);
    const foreign = content.kind === 'index' ? [] : content.foreign.filter(({ digest }) => held.has(digest));
    return { descriptor: { ...descriptor, mediaType }, bytes, content, foreign };
  } catch (error) {
    if (!(error instanceof ManifestInvalidError)) throw error;
    throw new BundleError('corrupt', `${descriptor.digest}: ${error.message}`, error);
  }
}

function entriesOf({ repository, subject, bytes }: ReferrersList): readonly Descriptor[] {
  try {
    const { content } = parseManifest(bytes, OCI_INDEX);
    return content.kind === 'index' ? content.entries : [];
  } catch (error) {
    if (!(error instanceof ManifestInvalidError)) throw error;
    const what = `referrers of ${subject} in ${repositoryKey(repository)}`;
    throw new BundleError('corrupt', `${what}: ${error.message}`, error);
  }
}

/** The roots that the bundle holds, with the manifests below them. An index comes after its entries. */
function below(
  roots: readonly Pick<Descriptor, 'digest'>[],
  read: ReadonlyMap<Digest, ReadManifest>,
): ReadManifest[] {
  const found = new Map<Digest, ReadManifest>();
  const entered = new Set<Digest>();
  const visit = (digest: Digest): void => {
    const manifest = read.get(digest);
    // `entered` ends circles too, should a hash function be broken.
    if (manifest === undefined || entered.has(digest)) return;
    entered.add(digest);
    if (manifest.content.kind === 'index') manifest.content.entries.forEach((entry) => visit(entry.digest));
    found.set(digest, manifest);
  };
  for (const { digest } of roots) visit(digest);
  return [...found.values()];
}
