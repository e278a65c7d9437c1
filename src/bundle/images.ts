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
import { BundleError } from './error.ts';
import type { BundleHead, ReferrersList } from './reader.ts';

export interface ReadManifest extends Manifest {
  readonly content: ManifestContent;
  /** Its foreign layers that the bundle holds. Naming one shows nothing: whoever makes images need not have them. */
  readonly foreign: readonly Descriptor[];
}

/** What a bundle brings to a repository: a name, or what refers to a manifest there. Its manifests, the root last. */
export type BundledUnit = { readonly repository: Repository; readonly manifests: readonly ReadManifest[] } & (
  | { readonly kind: 'image'; readonly name: ImageName; readonly root: ReadManifest }
  | { readonly kind: 'referrers'; readonly list: ReferrersList }
);

/**
 * Takes a bundle apart into what it brings. Throws BundleError `corrupt` if it contradicts itself: if an image lacks
 * its manifest or names blobs that the bundle neither holds nor builds on.
 */
export function unitsOf(
  { images, contents }: BundleHead,
  manifests: ReadonlyMap<Digest, Manifest>,
  referrers: readonly ReferrersList[],
): BundledUnit[] {
  const held = new Set([...contents.blobs, ...contents.base].map(({ digest }) => digest));
  const read = new Map([...manifests].map(([digest, manifest]) => [digest, parsed(manifest, held)]));
  for (const { descriptor, content } of read.values()) {
    // What attestations lack was said when the bundle was made; clients other than Docker 29 do without.
    if (!isRunnableImage(content)) continue;
    const missing = blobsOf(content).find((blob) => !held.has(blob.digest));
    if (missing === undefined) continue;
    const names = `${descriptor.digest} names ${missing.digest}`;
    throw new BundleError('corrupt', `${names}, which the bundle does not speak of`);
  }
  // An image often has several names, and whoever makes a bundle can give it a hundred thousand.
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

/** What of these the bundle holds, with all that it holds below them; what names comes after what is named. */
function below(
  roots: readonly Pick<Descriptor, 'digest'>[],
  read: ReadonlyMap<Digest, ReadManifest>,
): ReadManifest[] {
  const found = new Map<Digest, ReadManifest>();
  const entered = new Set<Digest>();
  const visit = (digest: Digest): void => {
    const manifest = read.get(digest);
    // A digest cannot name itself, and nobody need rely on that.
    if (manifest === undefined || entered.has(digest)) return;
    entered.add(digest);
    if (manifest.content.kind === 'index') manifest.content.entries.forEach((entry) => visit(entry.digest));
    found.set(digest, manifest);
  };
  for (const { digest } of roots) visit(digest);
  return [...found.values()];
}
