import { LRUCache } from 'lru-cache';
import type { Digest } from '../../oci/digest.ts';
import { attestedDigest, parseManifest, type IndexEntry, type Manifest } from '../../oci/manifest.ts';
import { isImageManifestType, isIndexType } from '../../oci/media-types.ts';
import type { Platform } from '../../oci/platform.ts';

/** A manifest, as its index describes it. */
export interface IndexedManifest {
  readonly platform?: Platform | undefined;
  readonly isAttestation: boolean;
  /** The attestations of this manifest. */
  readonly attestations: readonly Digest[];
}

interface KnownManifest extends IndexedManifest {
  readonly index: Digest;
}

const MAX_INDEXES = 5000;
/** Digests in all indexes together. */
const MAX_DIGESTS = 200_000;
const MAX_MANIFESTS = 50_000;
/** In total: an index can have megabytes in a platform. */
const MAX_BYTES = 32 * 1024 * 1024;
/** Per manifest, besides the texts of its platform. */
const MANIFEST_BYTES = 300;
const TEXT_BYTES = 16;
/** Per manifest; BuildKit makes one. */
const MAX_ATTESTATIONS = 4;
const NO_ATTESTATIONS: readonly Digest[] = [];

/**
 * Describes manifests that clients ask for by digest. Such a request does not name the index, but the client got the
 * index shortly before.
 */
export class IndexEntries {
  /** The digests in each index whose manifests are all known. */
  readonly #indexes = new LRUCache<Digest, ReadonlySet<Digest>>({
    max: MAX_INDEXES,
    maxSize: MAX_DIGESTS,
    sizeCalculation: (digests) => digests.size + 1,
  });
  readonly #manifests = new LRUCache<Digest, KnownManifest>({
    max: MAX_MANIFESTS,
    maxSize: MAX_BYTES,
    sizeCalculation: ({ platform }) => MANIFEST_BYTES + textLength(platform),
    dispose: ({ index }, _digest, reason) => {
      if (reason === 'evict') this.#indexes.delete(index);
    },
  });

  /** Call this with each manifest that is sent or read. Only an index has an effect. */
  note(manifest: Manifest): void {
    if (
      !isIndexType(manifest.descriptor.mediaType) ||
      this.#indexes.get(manifest.descriptor.digest) !== undefined
    )
      return;
    const { content } = parseManifest(manifest.bytes, manifest.descriptor.mediaType);
    if (content.kind !== 'index') return;
    this.#indexes.set(manifest.descriptor.digest, new Set(content.entries.map(({ digest }) => digest)));
    const attestations = attestationsIn(content.entries);
    const seen = new Set<Digest>();
    for (const entry of content.entries) {
      const { digest, mediaType, platform } = entry;
      // If several entries have the same digest, clients take the first (OCI image-index.md).
      if (!isImageManifestType(mediaType) || seen.has(digest)) continue;
      seen.add(digest);
      this.#learn(digest, {
        index: manifest.descriptor.digest,
        isAttestation: attestedDigest(entry) !== undefined,
        attestations: attestations.get(digest) ?? NO_ATTESTATIONS,
        platform,
      });
    }
  }

  /** Whether `index` is known and contains `digest`. */
  isIn(index: Digest, digest: Digest): boolean {
    return this.#indexes.get(index)?.has(digest) === true;
  }

  get(digest: Digest): IndexedManifest | undefined {
    return this.#manifests.get(digest);
  }

  /** Several indexes may contain the manifest; data that one omits is kept from another. */
  #learn(digest: Digest, described: KnownManifest): void {
    const before = this.#manifests.peek(digest);
    if (before === undefined) {
      this.#manifests.set(digest, described);
      return;
    }
    const attestations = [...new Set([...described.attestations, ...before.attestations])];
    this.#manifests.set(digest, {
      ...described,
      platform: described.platform ?? before.platform,
      attestations: attestations.slice(0, MAX_ATTESTATIONS),
    });
  }
}

function attestationsIn(entries: readonly IndexEntry[]): ReadonlyMap<Digest, readonly Digest[]> {
  const attestations = new Map<Digest, Digest[]>();
  for (const entry of entries) {
    const subject = attestedDigest(entry);
    if (subject === undefined) continue;
    const known = attestations.get(subject) ?? [];
    if (known.length < MAX_ATTESTATIONS) attestations.set(subject, [...known, entry.digest]);
  }
  return attestations;
}

function textLength(platform: Platform | undefined): number {
  if (platform === undefined) return 0;
  const { os, architecture, variant = '', osVersion = '', osFeatures = [] } = platform;
  return [os, architecture, variant, osVersion, ...osFeatures].reduce(
    (sum, text) => sum + TEXT_BYTES + text.length,
    0,
  );
}
