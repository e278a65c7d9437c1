import { findMissing } from '../../mirror/manifest/missing-blobs.ts';
import type { Digest } from '../../oci/digest.ts';
import { blobsOf, type Descriptor, type Manifest } from '../../oci/manifest.ts';
import { formatPlatform, type Platform } from '../../oci/platform.ts';
import { walkedBlobs, walkImage, type ImageWalk, type WalkedManifest } from '../images/walk.ts';

/**
 * The platforms of an export. `stored`: all cached platforms. `all`: all platforms of the image, which must be cached. A
 * list: these platforms, which must be cached.
 */
export type Audience = 'stored' | 'all' | readonly Platform[];

/** The part of an image that goes into a bundle. */
export interface Selection {
  /** The root first. */
  readonly manifests: readonly WalkedManifest[];
  readonly blobs: readonly Descriptor[];
  /** Foreign layers of these manifests that are left out. */
  readonly foreign: readonly Descriptor[];
  /** Missing parts of the request, for people. */
  readonly lacks: readonly string[];
}

export interface SelectionOptions {
  readonly read: (digest: Digest) => Promise<Manifest | undefined>;
  readonly referrers: (subject: Digest) => Promise<readonly Descriptor[]>;
  readonly hasBlob: (blob: Descriptor) => Promise<boolean>;
  readonly withForeign: boolean;
  readonly signal: AbortSignal;
}

const MAX_NAMED = 3;

/**
 * Selects the cached part of an image. Leaves out manifests with missing blobs, but takes attestations and referrers even
 * if partial. Reports partial attestations: without them, Docker 29 cannot pull the image.
 */
export async function selectImage(
  root: Digest,
  audience: Audience,
  options: SelectionOptions,
): Promise<Selection> {
  const platforms = typeof audience === 'string' ? [] : audience;
  const walk = await walkImage(root, { ...options, platforms });
  const manifests = takenOf(walk);
  const { blobs, foreign, missingBlobs } = walkedBlobs(manifests);
  const missingForeign = options.withForeign ? await findMissing(foreign, options.hasBlob) : foreign;
  const left = new Set([...missingBlobs, ...missingForeign].map(({ digest }) => digest));
  return {
    manifests,
    blobs: [...blobs, ...foreign].filter(({ digest }) => !left.has(digest)),
    foreign: missingForeign,
    lacks: [
      ...(audience === 'stored' ? nothingOf(walk, manifests) : lacksOf(walk)),
      ...attestationLacks(walk, manifests),
      ...(options.withForeign ? missingForeign : []).map(
        ({ digest }) => `foreign layer ${digest} is not cached`,
      ),
    ],
  };
}

/** Whether a client could use these manifests: at least one is more than an index. */
export function isOfUse(manifests: readonly WalkedManifest[]): boolean {
  return manifests.some(
    ({ role, content }) => role === 'image' || (role === 'index' && blobsOf(content).length > 0),
  );
}

function takenOf({ manifests }: ImageWalk): WalkedManifest[] {
  const whole = manifests.filter((manifest) => isImage(manifest) && manifest.missing.length === 0);
  const taken = new Set(whole.map(({ digest }) => digest));
  // A referrer comes after its subject, and may be the subject of a later one.
  for (const { digest, subject } of manifests) {
    if (subject !== undefined && taken.has(subject)) taken.add(digest);
  }
  return manifests.filter(({ digest }) => taken.has(digest));
}

/** Why no manifest of the image could be selected. */
function nothingOf({ manifests, missing }: ImageWalk, taken: readonly WalkedManifest[]): string[] {
  if (isOfUse(taken)) return [];
  const partial = manifests.find((manifest) => manifest.missing.length > 0);
  if (partial !== undefined) return [`partial: ${named(partial.missing)} not cached`];
  if (manifests.length > 0) return ['only the index is cached'];
  return missing.map(({ digest, reason }) => `${digest}: ${reason}`);
}

function lacksOf({ manifests, missing, unmatched }: ImageWalk): string[] {
  return [
    ...unmatched.map((platform) => `no manifest for ${formatPlatform(platform)}`),
    ...missing
      .filter(({ role }) => role === 'image' || role === 'index')
      .map(({ digest, platform, reason }) => `${nameOf(platform)}${digest}: ${reason}`),
    ...manifests
      .filter((manifest) => isImage(manifest) && manifest.missing.length > 0)
      .map(({ platform, missing: blobs }) => `${nameOf(platform)}${named(blobs)} not cached`),
  ];
}

/** The missing parts of the attestations of the selected images. */
function attestationLacks({ manifests, missing }: ImageWalk, taken: readonly WalkedManifest[]): string[] {
  const subjects = new Map(taken.filter(isImage).map(({ digest, platform }) => [digest, platform]));
  const isOfTaken = ({ role, subject }: Pick<WalkedManifest, 'role' | 'subject'>): boolean =>
    role === 'attestation' && subject !== undefined && subjects.has(subject);
  const attestation = (subject: Digest | undefined): string =>
    `${nameOf(subject === undefined ? undefined : subjects.get(subject))}the attestation is partial, and Docker 29 needs it:`;
  return [
    ...missing
      .filter(isOfTaken)
      .map(({ digest, subject, reason }) => `${attestation(subject)} manifest ${digest}: ${reason}`),
    ...manifests
      .filter((manifest) => isOfTaken(manifest) && manifest.missing.length > 0)
      .map(({ subject, missing: blobs }) => `${attestation(subject)} ${named(blobs)} not cached`),
  ];
}

function isImage({ role }: WalkedManifest): boolean {
  return role === 'image' || role === 'index';
}

function nameOf(platform: Platform | undefined): string {
  return platform === undefined ? '' : `${formatPlatform(platform)}: `;
}

function named(blobs: readonly Descriptor[]): string {
  const digests = blobs.map(({ digest }) => digest);
  const some = digests.slice(0, MAX_NAMED).join(', ');
  return digests.length > MAX_NAMED ? `${some} and ${digests.length - MAX_NAMED} more are` : `${some} is`;
}
