import { LRUCache } from 'lru-cache';
import type { Digest } from '../../oci/digest.ts';
import { attestedDigest, parseManifest, type IndexEntry, type Manifest } from '../../oci/manifest.ts';
import { isImageManifestType, isIndexType } from '../../oci/media-types.ts';
import type { Platform } from '../../oci/platform.ts';

/** What an index said of a manifest that it names. */
export interface IndexedManifest {
  readonly platform?: Platform;
  /** It speaks of another one, and is no image. */
  readonly isAttestation: boolean;
  /** Manifests that speak of this one: provenance and the like. */
  readonly attestations: readonly Digest[];
}

interface KnownManifest extends IndexedManifest {
  readonly list: Digest;
}

const MAX_LISTS = 5000;
/** Over all lists. */
const MAX_NAMES = 200_000;
const MAX_MEMBERS = 50_000;
/** Of all of them: whoever makes an index can write megabytes into a platform. */
const MAX_BYTES = 32 * 1024 * 1024;
/** What a member takes besides the texts that its index has of it. */
const MEMBER_BYTES = 300;
const TEXT_BYTES = 16;
/** Of one manifest; BuildKit makes one. */
const MAX_ATTESTATIONS = 4;
const NO_ATTESTATIONS: readonly Digest[] = [];

/**
 * What the manifests are that clients ask for by digest: a request for one does not tell which index it was found in,
 * but that index went out shortly before.
 */
export class IndexEntries {
  /** What they name; those whose members are all known. */
  readonly #lists = new LRUCache<Digest, ReadonlySet<Digest>>({
    max: MAX_LISTS,
    maxSize: MAX_NAMES,
    sizeCalculation: (names) => names.size + 1,
  });
  readonly #members = new LRUCache<Digest, KnownManifest>({
    max: MAX_MEMBERS,
    maxSize: MAX_BYTES,
    sizeCalculation: ({ platform }) => MEMBER_BYTES + textLength(platform),
    dispose: ({ list }, _digest, reason) => {
      if (reason === 'evict') this.#lists.delete(list);
    },
  });

  /** `manifest` has gone out, or was looked into; nothing happens unless it is an index. */
  note(manifest: Manifest): void {
    if (
      !isIndexType(manifest.descriptor.mediaType) ||
      this.#lists.get(manifest.descriptor.digest) !== undefined
    )
      return;
    const { content } = parseManifest(manifest.bytes, manifest.descriptor.mediaType);
    if (content.kind !== 'index') return;
    this.#lists.set(manifest.descriptor.digest, new Set(content.entries.map(({ digest }) => digest)));
    const attestations = attestationsIn(content.entries);
    const seen = new Set<Digest>();
    for (const entry of content.entries) {
      const { digest, mediaType, platform } = entry;
      // Of several entries for one manifest clients take the first (OCI image-index.md).
      if (!isImageManifestType(mediaType) || seen.has(digest)) continue;
      seen.add(digest);
      this.#learn(digest, {
        list: manifest.descriptor.digest,
        isAttestation: attestedDigest(entry) !== undefined,
        attestations: attestations.get(digest) ?? NO_ATTESTATIONS,
        ...(platform === undefined ? {} : { platform }),
      });
    }
  }

  /** Whether a list that went out lately names `digest`. */
  isIn(list: Digest, digest: Digest): boolean {
    return this.#lists.get(list)?.has(digest) === true;
  }

  get(digest: Digest): IndexedManifest | undefined {
    return this.#members.get(digest);
  }

  /** Another index that names the manifest too, and says less of it, takes nothing away. */
  #learn(digest: Digest, member: KnownManifest): void {
    const before = this.#members.peek(digest);
    if (before === undefined) {
      this.#members.set(digest, member);
      return;
    }
    const platform = member.platform ?? before.platform;
    const attestations = [...new Set([...member.attestations, ...before.attestations])];
    this.#members.set(digest, {
      list: member.list,
      isAttestation: member.isAttestation,
      attestations: attestations.slice(0, MAX_ATTESTATIONS),
      ...(platform === undefined ? {} : { platform }),
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
