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
  /** For an index, the state of its platforms: missing platforms count only if all are missing. */
  readonly state: CacheState;
  /** For an index, the sum over `platforms`. */
  readonly missingBlobs: number;
  /** For an index: its platforms that are cached or partial. */
  readonly platforms: readonly PlatformState[];
}

/** The state of a cached manifest or index, by the blobs that its manifests list. */
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

/** An entry of an index whose manifest is cached. */
interface Member {
  readonly platform: string;
  readonly blobs: readonly Digest[];
  /** The missing ones of `blobs`. */
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
 * The platforms that are cached or partial. Platforms share blobs: a platform of which only the manifest was pulled can
 * have some blobs of another one. So blobs of a cached platform do not make another platform partial.
 */
function platformStates(tables: IndexTables, members: readonly Member[]): PlatformState[] {
  const cached = members.filter(({ missing }) => missing.length === 0);
  const shared = new Set(cached.flatMap(({ blobs }) => blobs));
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

/** Without duplicates. */
function neededBlobs(content: ManifestContent): Digest[] {
  return [...new Set(blobsOf(content).map(({ digest }) => digest))];
}

function missingOf({ blobs }: IndexTables, needed: readonly Digest[]): Digest[] {
  return needed.filter((blob) => blobs.size(blob) === undefined);
}
