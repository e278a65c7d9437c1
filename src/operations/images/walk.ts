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

/** What a manifest is to its image. A `referrer` speaks of it from outside: a signature, a bill of materials. */
export type ManifestRole = 'index' | 'image' | 'attestation' | 'referrer';

/** A manifest that belongs to the image. */
interface Part {
  readonly digest: Digest;
  readonly role: ManifestRole;
  /** As its index states it. */
  readonly platform?: Platform;
  /** The manifest that an attestation or a referrer speaks of. */
  readonly subject?: Digest;
}

export interface WalkedManifest extends Part, Descriptor {
  readonly content: ManifestContent;
  /** Those of its blobs that are not cached; empty if nobody looked for them. */
  readonly missing: readonly Descriptor[];
}

/** It is not to be had. */
export interface MissingManifest extends Part {
  /** For people. */
  readonly reason: string;
}

export interface WalkedBlobs {
  /** Each once, in the order of the manifests. */
  readonly blobs: readonly Descriptor[];
  /** Layers that are held elsewhere: registries need not have them (Windows base layers). */
  readonly foreign: readonly Descriptor[];
  /** Those of `blobs` that are not cached. */
  readonly missingBlobs: readonly Descriptor[];
}

/** All that an image consists of. What is not among `missing` was read, whether or not its blobs are there. */
export interface ImageWalk extends WalkedBlobs {
  /** Each once, an index before what it names, the root first. */
  readonly manifests: readonly WalkedManifest[];
  readonly missing: readonly MissingManifest[];
  /** Platforms that were wanted and that the image is not made for. */
  readonly unmatched: readonly Platform[];
}

export interface WalkOptions {
  /** For whom: for each the manifest that it would be served. Empty: everything that there is. */
  readonly platforms: readonly Platform[];
  /** Undefined: it is not to be had here. Throws PullError if upstream was asked in vain. */
  readonly read: (digest: Digest) => Promise<Manifest | undefined>;
  /** What refers to a manifest, as far as the caller knows; absent: referrers are left out. */
  readonly referrers?: (subject: Digest) => Promise<readonly Pick<Descriptor, 'digest'>[]>;
  /** Absent: blobs are not looked for. */
  readonly hasBlob?: (blob: Descriptor) => Promise<boolean>;
  readonly signal?: AbortSignal;
}

/** More is no image; every other bound on what one can name is that on a manifest's size. */
const MAX_MANIFESTS = 2000;
/** Referrers of referrers. */
const MAX_REFERRER_DEPTH = 4;

/** Walks from the manifest or list `root` to all that belongs to it. Throws only what `read` does besides PullError. */
export async function walkImage(root: Digest, options: WalkOptions): Promise<ImageWalk> {
  const walk = new Walk(options);
  await walk.root(root);
  return walk.result();
}

/** What manifests name that is no manifest. */
export function walkedBlobs(manifests: readonly WalkedManifest[]): WalkedBlobs {
  const blobs = distinct(manifests.flatMap(({ content }) => blobsOf(content)));
  const held = new Set(blobs.map(({ digest }) => digest));
  const elsewhere = manifests.flatMap(({ content }) => (content.kind === 'index' ? [] : content.foreign));
  return {
    blobs,
    // What one manifest only points to, another one may hold.
    foreign: distinct(elsewhere.filter(({ digest }) => !held.has(digest))),
    missingBlobs: distinct(manifests.flatMap(({ missing }) => missing)),
  };
}

function distinct(blobs: readonly Descriptor[]): Descriptor[] {
  const seen = new Map<Digest, Descriptor>();
  for (const blob of blobs) if (!seen.has(blob.digest)) seen.set(blob.digest, blob);
  return [...seen.values()];
}

/** Blobs that more than attestations name: what is only theirs nobody but Docker 29 asks for. */
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

  /** The choice is that of serving, so the lists that it looks into on its way belong to the image. */
  async #forPlatform(index: Manifest, platform: Platform): Promise<void> {
    try {
      const entry = await entryFor(platform, index, async (nested) => {
        const list = await this.#open({ digest: nested.digest, role: 'index' });
        if (list === undefined) throw new UnreadableListError();
        return list;
      });
      if (entry === undefined) this.#unmatched.push(platform);
      else await this.#image(entry, entry.platform ?? platform);
    } catch (error) {
      // It is among the missing ones, and what it would have led to is not known.
      if (!(error instanceof UnreadableListError)) throw error;
    }
  }

  /** An image is one with what its index says of it: Docker 29 fetches both. */
  async #image({ digest }: IndexEntry, platform: Platform): Promise<void> {
    await this.#open({ digest, role: 'image', platform });
    for (const { content } of this.#manifests.values()) {
      if (content.kind !== 'index') continue;
      for (const entry of content.entries) {
        if (attestedDigest(entry) === digest) await this.#open(attestationOf(entry));
      }
    }
  }

  /** Everything that an index names, and those in it. */
  async #entries(index: Digest, depth: number): Promise<void> {
    const content = this.#manifests.get(index)?.content;
    if (content?.kind !== 'index') return;
    for (const entry of content.entries) {
      const { digest, mediaType, platform } = entry;
      if (isAttestation(entry)) await this.#open(attestationOf(entry));
      else if (isImageManifestType(mediaType)) {
        await this.#open({ digest, role: 'image', ...(platform === undefined ? {} : { platform }) });
      } else if (isIndexType(mediaType) && !this.#manifests.has(digest)) {
        if (depth >= MAX_INDEX_DEPTH)
          this.#miss({ digest, role: 'index' }, 'it is a list too deep inside lists');
        else if ((await this.#open({ digest, role: 'index' })) !== undefined) {
          await this.#entries(digest, depth + 1);
        }
      }
    }
  }

  /** Reads a manifest and takes it in, with what refers to it; undefined if it is not to be had. */
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
      if (manifest === undefined) return this.#miss(wanted, 'it is not cached');
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
    // Beyond the bound one says it for all.
    if (this.#manifests.size >= MAX_MANIFESTS && this.#missing.size > 0) return undefined;
    this.#missing.set(wanted.digest, { ...wanted, reason });
    return undefined;
  }
}

/** A list inside a list that is not to be had. */
class UnreadableListError extends Error {
  override readonly name = 'UnreadableListError';
  readonly code = 'unreadable-list';
}

function attestationOf(entry: IndexEntry): Part {
  const subject = attestedDigest(entry);
  return {
    digest: entry.digest,
    role: 'attestation',
    ...(entry.platform === undefined ? {} : { platform: entry.platform }),
    ...(subject === undefined ? {} : { subject }),
  };
}
