import { findMissing } from '../../mirror/manifest/missing-blobs.ts';
import type { Digest } from '../../oci/digest.ts';
import { blobsOf, type Descriptor, type Manifest } from '../../oci/manifest.ts';
import { formatPlatform, type Platform } from '../../oci/platform.ts';
import { walkedBlobs, walkImage, type ImageWalk, type WalkedManifest } from '../images/walk.ts';

/**
 * For whom an image is wanted: `stored`: whoever can be served from what is stored, `all`: everyone that it is made
 * for, or these platforms.
 */
export type Audience = 'stored' | 'all' | readonly Platform[];

/** What is taken of an image. */
export interface Selection {
  /** The root first. */
  readonly manifests: readonly WalkedManifest[];
  readonly blobs: readonly Descriptor[];
  /** Foreign layers of these manifests that are not taken. */
  readonly foreign: readonly Descriptor[];
  /** Why it is less than was wanted, for people; empty: it is not. */
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
 * Takes of an image what is cached: no image without all of its blobs. Of attestations and referrers it takes all that is
 * there. What an attestation lacks is lacking: Docker 29 does not take the image then, though every other client does.
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
        ({ digest }) => `its foreign layer ${digest} is not cached`,
      ),
    ],
  };
}

/** Whether anybody could use anything of it: there is more than lists. */
export function isOfUse(manifests: readonly WalkedManifest[]): boolean {
  return manifests.some(
    ({ role, content }) => role === 'image' || (role === 'index' && blobsOf(content).length > 0),
  );
}

function takenOf({ manifests }: ImageWalk): WalkedManifest[] {
  const whole = manifests.filter((manifest) => isImage(manifest) && manifest.missing.length === 0);
  const taken = new Set(whole.map(({ digest }) => digest));
  // What refers to something comes after it, and may be referred to itself.
  for (const { digest, subject } of manifests) {
    if (subject !== undefined && taken.has(subject)) taken.add(digest);
  }
  return manifests.filter(({ digest }) => taken.has(digest));
}

/** Why there is nothing of it that could be served. */
function nothingOf({ manifests, missing }: ImageWalk, taken: readonly WalkedManifest[]): string[] {
  if (isOfUse(taken)) return [];
  const partial = manifests.find((manifest) => manifest.missing.length > 0);
  if (partial !== undefined) return [`only parts of it are cached: ${named(partial.missing)} not cached`];
  if (manifests.length > 0) return ['nothing of it but its index is cached'];
  return missing.map(({ digest, reason }) => `${digest}: ${reason}`);
}

function lacksOf({ manifests, missing, unmatched }: ImageWalk): string[] {
  return [
    ...unmatched.map((platform) => `it is not made for ${formatPlatform(platform)}`),
    ...missing
      .filter(({ role }) => role === 'image' || role === 'index')
      .map(({ digest, platform, reason }) => `${nameOf(platform)}${digest}: ${reason}`),
    ...manifests
      .filter((manifest) => isImage(manifest) && manifest.missing.length > 0)
      .map(({ platform, missing: blobs }) => `${nameOf(platform)}${named(blobs)} not cached`),
  ];
}

/** What the attestations of the images that are taken lack. */
function attestationLacks({ manifests, missing }: ImageWalk, taken: readonly WalkedManifest[]): string[] {
  const subjects = new Map(taken.filter(isImage).map(({ digest, platform }) => [digest, platform]));
  const isOfTaken = ({ role, subject }: Pick<WalkedManifest, 'role' | 'subject'>): boolean =>
    role === 'attestation' && subject !== undefined && subjects.has(subject);
  const attestation = (subject: Digest | undefined): string =>
    `${nameOf(subject === undefined ? undefined : subjects.get(subject))}of its attestation, which Docker 29 needs,`;
  return [
    ...missing
      .filter(isOfTaken)
      .map(({ digest, subject, reason }) => `${attestation(subject)} the manifest ${digest}: ${reason}`),
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
