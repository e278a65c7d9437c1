import type { Digest } from '../../oci/digest.ts';
import type { Descriptor } from '../../oci/manifest.ts';
import { formatPlatform, type Platform } from '../../oci/platform.ts';
import type { BlobFiles } from '../../store/blobs.ts';
import type { StoredManifest } from '../../store/manifests.ts';
import { walkImage, type ClosureBlob, type ClosureManifest, type ImageWalk } from '../images/walk.ts';

/**
 * For whom an image is wanted: `stored`: whoever can be served from what is stored, `all`: everyone that it is made
 * for, or these platforms.
 */
export type Audience = 'stored' | 'all' | readonly Platform[];

/** What is taken of an image. */
export interface Selection {
  /** The root first. */
  readonly manifests: readonly ClosureManifest[];
  readonly blobs: readonly ClosureBlob[];
  /** Foreign layers of these manifests that are not taken. */
  readonly foreign: readonly ClosureBlob[];
  /** Why it is less than was wanted, for people; empty: it is not. */
  readonly lacks: readonly string[];
}

export interface SelectionOptions {
  readonly read: (digest: Digest) => Promise<StoredManifest | undefined>;
  readonly referrers: (subject: Digest) => Promise<readonly Descriptor[]>;
  readonly files: Pick<BlobFiles, 'size'>;
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
  const closure = await walkImage(root, { ...options, platforms });
  const faults = await faultsOf(closure, options);
  const manifests = takenOf(closure, faults);
  const blobs: ClosureBlob[] = [];
  const foreign: ClosureBlob[] = [];
  const lacks = [
    ...(audience === 'stored' ? nothingOf(closure, faults, manifests) : lacksOf(closure, faults)),
    ...attestationLacks(closure, faults, manifests),
  ];
  for (const blob of distinct(manifests.flatMap((manifest) => manifest.blobs))) {
    const isStored = (await options.files.size(blob.digest)) !== undefined;
    if (isStored && (!blob.isForeign || options.withForeign)) blobs.push(blob);
    else if (blob.isForeign) foreign.push(blob);
    if (!isStored && blob.isForeign && options.withForeign) {
      lacks.push(`its foreign layer ${blob.digest} is not cached`);
    }
  }
  return { manifests, blobs, foreign, lacks };
}

/** Whether anybody could use anything of it: there is more than lists. */
export function isOfUse(manifests: readonly ClosureManifest[]): boolean {
  return manifests.some(({ role, blobs }) => role === 'image' || (role === 'index' && blobs.length > 0));
}

/** Blobs that are not stored, by the manifest that needs them. */
type Faults = ReadonlyMap<Digest, readonly Digest[]>;

async function faultsOf({ manifests }: ImageWalk, { files }: SelectionOptions): Promise<Faults> {
  const faults = new Map<Digest, readonly Digest[]>();
  for (const { digest, blobs } of manifests) {
    const missing: Digest[] = [];
    for (const blob of blobs) {
      if (!blob.isForeign && (await files.size(blob.digest)) === undefined) missing.push(blob.digest);
    }
    if (missing.length > 0) faults.set(digest, missing);
  }
  return faults;
}

function takenOf({ manifests }: ImageWalk, faults: Faults): ClosureManifest[] {
  const whole = manifests.filter((manifest) => isImage(manifest) && !faults.has(manifest.digest));
  const taken = new Set(whole.map(({ digest }) => digest));
  // What refers to something comes after it, and may be referred to itself.
  for (const { digest, subject } of manifests) {
    if (subject !== undefined && taken.has(subject)) taken.add(digest);
  }
  return manifests.filter(({ digest }) => taken.has(digest));
}

/** Why there is nothing of it that could be served. */
function nothingOf(
  { manifests, missing }: ImageWalk,
  faults: Faults,
  taken: readonly ClosureManifest[],
): string[] {
  if (isOfUse(taken)) return [];
  const [first] = faults.values();
  if (first !== undefined) return [`only parts of it are cached: ${named(first)} not cached`];
  if (manifests.length > 0) return ['nothing of it but its index is cached'];
  return missing.map(({ digest, reason }) => `${digest}: ${reason}`);
}

function lacksOf({ manifests, missing, unmatched }: ImageWalk, faults: Faults): string[] {
  return [
    ...unmatched.map((platform) => `it is not made for ${formatPlatform(platform)}`),
    ...missing
      .filter(({ role }) => role === 'image' || role === 'index')
      .map(({ digest, platform, reason }) => `${nameOf(platform)}${digest}: ${reason}`),
    ...manifests.filter(isImage).flatMap(({ digest, platform }) => {
      const blobs = faults.get(digest);
      return blobs === undefined ? [] : [`${nameOf(platform)}${named(blobs)} not cached`];
    }),
  ];
}

/** What the attestations of the images that are taken lack. */
function attestationLacks(
  { manifests, missing }: ImageWalk,
  faults: Faults,
  taken: readonly ClosureManifest[],
): string[] {
  const subjects = new Map(taken.filter(isImage).map(({ digest, platform }) => [digest, platform]));
  const isOfTaken = ({ role, subject }: Pick<ClosureManifest, 'role' | 'subject'>): boolean =>
    role === 'attestation' && subject !== undefined && subjects.has(subject);
  const attestation = (subject: Digest | undefined): string =>
    `${nameOf(subject === undefined ? undefined : subjects.get(subject))}of its attestation, which Docker 29 needs,`;
  return [
    ...missing
      .filter(isOfTaken)
      .map(({ digest, subject, reason }) => `${attestation(subject)} the manifest ${digest}: ${reason}`),
    ...manifests.filter(isOfTaken).flatMap(({ digest, subject }) => {
      const blobs = faults.get(digest);
      return blobs === undefined ? [] : [`${attestation(subject)} ${named(blobs)} not cached`];
    }),
  ];
}

function isImage({ role }: ClosureManifest): boolean {
  return role === 'image' || role === 'index';
}

function nameOf(platform: Platform | undefined): string {
  return platform === undefined ? '' : `${formatPlatform(platform)}: `;
}

function named(digests: readonly Digest[]): string {
  const some = digests.slice(0, MAX_NAMED).join(', ');
  return digests.length > MAX_NAMED ? `${some} and ${digests.length - MAX_NAMED} more are` : `${some} is`;
}

function distinct(blobs: readonly ClosureBlob[]): ClosureBlob[] {
  const seen = new Map<Digest, ClosureBlob>();
  // What one manifest only points to, another one may hold.
  for (const blob of blobs) if (seen.get(blob.digest)?.isForeign !== false) seen.set(blob.digest, blob);
  return [...seen.values()];
}
