import type { Digest } from '../../oci/digest.ts';
import {
  attestedDigest,
  blobsOf,
  isAttestation,
  MAX_INDEX_DEPTH,
  type IndexEntry,
  type ManifestContent,
} from '../../oci/manifest.ts';
import { showPlatform } from '../../oci/platform.ts';
import { stateOf, type CacheState, type PlatformState } from '../images.ts';
import type { IndexTables } from '../index/tables.ts';

export interface ImageState {
  /** Of an index that of its images: those of which nothing is cached do not count, unless that is all of them. */
  readonly state: CacheState;
  /** Of an index those of `platforms`. */
  readonly missingBlobs: number;
  /** Of an index. */
  readonly platforms: readonly PlatformState[];
}

/** What is cached of a stored manifest, by what its index and its images say that they need. */
export function imageState(tables: IndexTables, content: ManifestContent): ImageState {
  const blobs = neededBlobs(content);
  if (content.kind === 'image' || blobs.length > 0) {
    const missingBlobs = missingOf(tables, blobs).length;
    const state = stateOf({ parts: blobs.length, cached: blobs.length - missingBlobs });
    return { state, missingBlobs, platforms: [] };
  }
  const platforms = platformStates(tables, membersOf(tables, content.entries));
  const missingBlobs = platforms.reduce((sum, each) => sum + each.missingBlobs, 0);
  const isPartial = platforms.some(({ state }) => state !== 'cached');
  const state = platforms.length === 0 ? 'missing' : isPartial ? 'partial' : 'cached';
  return { state, missingBlobs, platforms };
}

/** A stored image of an index. */
interface Member {
  readonly platform: string;
  readonly blobs: readonly Digest[];
  /** Of the blobs. */
  readonly missing: readonly Digest[];
  readonly attestations: readonly Digest[];
}

function membersOf(tables: IndexTables, entries: readonly IndexEntry[], depth = 1): Member[] {
  const attestations = new Map<Digest, Digest[]>();
  for (const entry of entries) {
    const subject = attestedDigest(entry);
    if (subject !== undefined)
      attestations.set(subject, [...(attestations.get(subject) ?? []), entry.digest]);
  }
  return entries.flatMap((entry) => {
    if (isAttestation(entry)) return [];
    const content = tables.manifests.content(entry.digest);
    if (content === undefined) return [];
    if (content.kind === 'index') {
      return depth < MAX_INDEX_DEPTH ? membersOf(tables, content.entries, depth + 1) : [];
    }
    const platform = entry.platform === undefined ? 'unknown' : showPlatform(entry.platform);
    const blobs = neededBlobs(content);
    const missing = missingOf(tables, blobs);
    return [{ platform, blobs, missing, attestations: attestations.get(entry.digest) ?? [] }];
  });
}

/**
 * Those of which something is cached that is theirs. Platforms share blobs, so one of which nobody has pulled more than
 * its manifest can have some: blobs of a platform that is cached whole do not make another one partial.
 */
function platformStates(tables: IndexTables, members: readonly Member[]): PlatformState[] {
  const whole = members.filter(({ missing }) => missing.length === 0);
  const shared = new Set(whole.flatMap(({ blobs }) => blobs));
  return members.flatMap(({ platform, blobs, missing: lacking, attestations }) => {
    const missing = new Set(lacking);
    const isOwn = blobs.some((blob) => !shared.has(blob) && !missing.has(blob));
    if (missing.size > 0 && !isOwn) return [];
    let missingAttestations = 0;
    for (const attestation of attestations) {
      const content = tables.manifests.content(attestation);
      const lost = content === undefined ? [] : missingOf(tables, neededBlobs(content));
      if (content === undefined || lost.length > 0) missingAttestations++;
      for (const blob of lost) missing.add(blob);
    }
    const state = missing.size === 0 && missingAttestations === 0 ? 'cached' : 'partial';
    return [{ platform, state, missingBlobs: missing.size, missingAttestations } satisfies PlatformState];
  });
}

/** Each once. */
function neededBlobs(content: ManifestContent): Digest[] {
  return [...new Set(blobsOf(content).map(({ digest }) => digest))];
}

function missingOf({ blobs }: IndexTables, needed: readonly Digest[]): Digest[] {
  return needed.filter((blob) => blobs.size(blob) === undefined);
}
