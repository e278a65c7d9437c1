import { PullError } from '../../mirror/answer/errors.ts';
import { findMissing } from '../../mirror/manifest/missing-blobs.ts';
import { entryFor } from '../../mirror/manifest/platforms.ts';
import type { Digest } from '../../oci/digest.ts';
import {
  attestedDigest,
  blobsOf,
  isAttestation,
  ManifestInvalidError,
  MAX_INDEX_DEPTH,
  parseManifest,
  type Descriptor,
  type IndexEntry,
  type ManifestContent,
  type Manifest,
} from '../../oci/manifest.ts';
import { isImageManifestType, isIndexType } from '../../oci/media-types.ts';
import type { Platform } from '../../oci/platform.ts';

/** The role of a manifest in its image. A `referrer` is a signature or a bill of materials. */
export type ManifestRole = 'index' | 'image' | 'attestation' | 'referrer';

/** A manifest that belongs to the image. */
interface Part {
  readonly digest: Digest;
  readonly role: ManifestRole;
  /** As the index states it. */
  readonly platform?: Platform | undefined;
  /** The manifest that an attestation or a referrer describes. */
  readonly subject?: Digest | undefined;
}

export interface WalkedManifest extends Part, Descriptor {
  readonly content: ManifestContent;
  /** Its missing blobs; empty without `hasBlob`. */
  readonly missing: readonly Descriptor[];
}

/** A manifest that could not be read. */
export interface MissingManifest extends Part {
  /** For people. */
  readonly reason: string;
}

export interface WalkedBlobs {
  /** Each once, in the order of the manifests. */
  readonly blobs: readonly Descriptor[];
  /** Layers that registries need not have (Windows base layers). */
  readonly foreign: readonly Descriptor[];
  /** The part of `blobs` that is not cached. */
  readonly missingBlobs: readonly Descriptor[];
}

/** All manifests and blobs of an image. */
export interface ImageWalk extends WalkedBlobs {
  /** Each once, an index before its entries, the root first. */
  readonly manifests: readonly WalkedManifest[];
  readonly missing: readonly MissingManifest[];
  /** Requested platforms that have no manifest in the image. */
  readonly unmatched: readonly Platform[];
}

export interface WalkOptions {
  /** Of each platform, the manifest that a pull would get. Empty: all manifests of the image. */
  readonly platforms: readonly Platform[];
  /** Undefined: not cached. Throws PullError if upstream gave no manifest. */
  readonly read: (digest: Digest) => Promise<Manifest | undefined>;
  /** The referrers of a manifest; absent: the walk leaves referrers out. */
  readonly referrers?: (subject: Digest) => Promise<readonly Pick<Descriptor, 'digest'>[]>;
  /** Absent: the walk does not look for blobs. */
  readonly hasBlob?: (blob: Descriptor) => Promise<boolean>;
  readonly signal?: AbortSignal;
}

/** Far above real images. The size of a manifest bounds the number of its blobs. */
const MAX_MANIFESTS = 2000;
/** Referrers can have referrers. */
const MAX_REFERRER_DEPTH = 4;

/** Walks from the manifest or index `root` to all its parts. Throws the errors of `read`, except PullError. */
export async function walkImage(root: Digest, options: WalkOptions): Promise<ImageWalk> {
  const walk = new Walk(options);
  await walk.root(root);
  return walk.result();
}

/** The blobs that manifests name. */
export function walkedBlobs(manifests: readonly WalkedManifest[]): WalkedBlobs {
  const blobs = distinct(manifests.flatMap(({ content }) => blobsOf(content)));
  const held = new Set(blobs.map(({ digest }) => digest));
  const elsewhere = manifests.flatMap(({ content }) => (content.kind === 'index' ? [] : content.foreign));
  return {
    blobs,
    // A layer can be foreign in one manifest and a normal layer in another one.
    foreign: distinct(elsewhere.filter(({ digest }) => !held.has(digest))),
    missingBlobs: distinct(manifests.flatMap(({ missing }) => missing)),
  };
}

function distinct(blobs: readonly Descriptor[]): Descriptor[] {
  const seen = new Map<Digest, Descriptor>();
  for (const blob of blobs) if (!seen.has(blob.digest)) seen.set(blob.digest, blob);
  return [...seen.values()];
}

/** The blobs of all manifests but attestations. Only Docker 29 pulls blobs of attestations. */
export function blobsBesideAttestations({ manifests }: ImageWalk): ReadonlySet<Digest> {
  const others = manifests.filter(({ role }) => role !== 'attestation');
  return new Set(others.flatMap(({ content }) => blobsOf(content).map(({ digest }) => digest)));
}

class Walk {
  readonly #options: WalkOptions;
  readonly #manifests = new Map<Digest, WalkedManifest>();
  readonly #missing = new Map<Digest, MissingManifest>();
  readonly #unmatched: Platform[] = [];

  constructor(options: WalkOptions) {
    this.#options = options;
  }

  async root(digest: Digest): Promise<void> {
    const { platforms } = this.#options;
    const manifest = await this.#open({ digest, role: 'image' });
    if (manifest === undefined) return;
    if (!isIndexType(manifest.descriptor.mediaType)) return;
    if (platforms.length === 0) return this.#entries(digest, 1);
    for (const platform of platforms) await this.#forPlatform(manifest, platform);
  }

  result(): ImageWalk {
    const manifests = [...this.#manifests.values()];
    return {
      manifests,
      ...walkedBlobs(manifests),
      missing: [...this.#missing.values()],
      unmatched: this.#unmatched,
    };
  }

  /** Chooses as a pull does. Nested indexes that are read for the choice belong to the image. */
  async #forPlatform(index: Manifest, platform: Platform): Promise<void> {
    try {
      const entry = await entryFor(platform, index, async (nested) => {
        const opened = await this.#open({ digest: nested.digest, role: 'index' });
        if (opened === undefined) throw new UnreadableIndexError();
        return opened;
      });
      if (entry === undefined) this.#unmatched.push(platform);
      else await this.#image(entry, entry.platform ?? platform);
    } catch (error) {
      // `#open` has added the index to `#missing`.
      if (!(error instanceof UnreadableIndexError)) throw error;
    }
  }

  /** Takes the image with its attestations: Docker 29 pulls both. */
  async #image({ digest }: IndexEntry, platform: Platform): Promise<void> {
    await this.#open({ digest, role: 'image', platform });
    for (const { content } of this.#manifests.values()) {
      if (content.kind !== 'index') continue;
      for (const entry of content.entries) {
        if (attestedDigest(entry) === digest) await this.#open(attestationOf(entry));
      }
    }
  }

  /** Opens all entries of an index and of its nested indexes. */
  async #entries(index: Digest, depth: number): Promise<void> {
    const content = this.#manifests.get(index)?.content;
    if (content?.kind !== 'index') return;
    for (const entry of content.entries) {
      const { digest, mediaType, platform } = entry;
      if (isAttestation(entry)) await this.#open(attestationOf(entry));
      else if (isImageManifestType(mediaType)) {
        await this.#open({ digest, role: 'image', platform });
      } else if (isIndexType(mediaType) && !this.#manifests.has(digest)) {
        if (depth >= MAX_INDEX_DEPTH)
          this.#miss({ digest, role: 'index' }, `more than ${MAX_INDEX_DEPTH} indexes inside each other`);
        else if ((await this.#open({ digest, role: 'index' })) !== undefined) {
          await this.#entries(digest, depth + 1);
        }
      }
    }
  }

  /** Reads a manifest and its referrers; undefined if the manifest is missing. */
  async #open(wanted: Part, depth = 1): Promise<Manifest | undefined> {
    const { digest } = wanted;
    this.#options.signal?.throwIfAborted();
    if (this.#missing.has(digest)) return undefined;
    const isNew = !this.#manifests.has(digest);
    if (isNew && this.#manifests.size >= MAX_MANIFESTS) {
      return this.#miss(wanted, `the image has more than ${MAX_MANIFESTS} manifests`);
    }
    const manifest = await this.#read(wanted);
    if (isNew && manifest !== undefined && depth < MAX_REFERRER_DEPTH) await this.#referrersOf(digest, depth);
    return manifest;
  }

  async #referrersOf(subject: Digest, depth: number): Promise<void> {
    for (const { digest } of (await this.#options.referrers?.(subject)) ?? []) {
      await this.#open({ digest, role: 'referrer', subject }, depth + 1);
    }
  }

  async #read(wanted: Part): Promise<Manifest | undefined> {
    try {
      const manifest = await this.#options.read(wanted.digest);
      if (manifest === undefined) return this.#miss(wanted, 'not cached');
      if (!this.#manifests.has(wanted.digest)) await this.#take(wanted, manifest);
      return manifest;
    } catch (error) {
      if (!(error instanceof PullError || error instanceof ManifestInvalidError)) throw error;
      return this.#miss(wanted, error.message);
    }
  }

  /** Throws ManifestInvalidError. */
  async #take(wanted: Part, { descriptor, bytes }: Manifest): Promise<void> {
    const { hasBlob } = this.#options;
    const { content } = parseManifest(bytes, descriptor.mediaType);
    const role = content.kind === 'index' && wanted.role === 'image' ? 'index' : wanted.role;
    const missing = hasBlob === undefined ? [] : await findMissing(blobsOf(content), hasBlob);
    this.#manifests.set(descriptor.digest, { ...wanted, ...descriptor, role, content, missing });
  }

  #miss(wanted: Part, reason: string): undefined {
    // Behind `MAX_MANIFESTS`, one entry of `missing` is enough.
    if (this.#manifests.size >= MAX_MANIFESTS && this.#missing.size > 0) return undefined;
    this.#missing.set(wanted.digest, { ...wanted, reason });
    return undefined;
  }
}

/** A nested index could not be read. */
class UnreadableIndexError extends Error {
  override readonly name = 'UnreadableIndexError';
  readonly code = 'unreadable-index';
}

function attestationOf(entry: IndexEntry): Part {
  const { digest, platform } = entry;
  return { digest, role: 'attestation', platform, subject: attestedDigest(entry) };
}
