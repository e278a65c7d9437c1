import { LRUCache } from 'lru-cache';
import type { Digest } from '../oci/digest.ts';
import { attestedDigest, parseManifest } from '../oci/manifest.ts';
import { isImageManifestType, isIndexType } from '../oci/media-types.ts';
import type { Platform } from '../oci/platform.ts';
import type { StoredManifest } from '../store/manifest-store.ts';

/** What an index said of a manifest that it names. */
export interface IndexMember {
  readonly platform?: Platform;
  /** Manifests that speak of this one: provenance and the like. */
  readonly attestations: readonly Digest[];
}

const MAX_LISTS = 5000;
const MAX_MEMBERS = 50_000;
/** Of one manifest; BuildKit makes one. */
const MAX_ATTESTATIONS = 4;

/**
 * What the manifests are that clients ask for by digest: a request for one does not tell which index it was found in,
 * but that index went out shortly before.
 */
export class IndexMembers {
  readonly #lists = new LRUCache<Digest, true>({ max: MAX_LISTS });
  readonly #members = new LRUCache<Digest, IndexMember>({ max: MAX_MEMBERS });

  /** `manifest` has gone out, or was looked into; nothing happens unless it is an index. */
  note(manifest: StoredManifest): void {
    if (!isIndexType(manifest.mediaType) || this.#lists.has(manifest.digest)) return;
    const { content } = parseManifest(manifest.bytes, manifest.mediaType);
    if (content.kind !== 'index') return;
    this.#lists.set(manifest.digest, true);
    const attestations = new Map<Digest, Digest[]>();
    for (const entry of content.entries) {
      const subject = attestedDigest(entry);
      if (subject === undefined) continue;
      const known = attestations.get(subject) ?? [];
      if (known.length < MAX_ATTESTATIONS) attestations.set(subject, [...known, entry.digest]);
    }
    for (const { digest, mediaType, platform } of content.entries) {
      if (!isImageManifestType(mediaType)) continue;
      const member = { attestations: attestations.get(digest) ?? [] };
      this.#members.set(digest, platform === undefined ? member : { ...member, platform });
    }
  }

  get(digest: Digest): IndexMember | undefined {
    return this.#members.get(digest);
  }
}
