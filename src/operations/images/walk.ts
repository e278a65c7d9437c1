import { PullError } from '../../mirror/answer/errors.ts';
import { entryFor } from '../../mirror/manifest/platforms.ts';
import type { Digest } from '../../oci/digest.ts';
import {
  attestedDigest,
  isAttestation,
  ManifestInvalidError,
  parseManifest,
  type Descriptor,
  type IndexEntry,
  type ManifestContent,
} from '../../oci/manifest.ts';
import { isBlobEntryType, isImageManifestType, isIndexType } from '../../oci/media-types.ts';
import type { Platform } from '../../oci/platform.ts';
import type { StoredManifest } from '../../store/manifests.ts';

/** What a manifest is to its image. A `referrer` speaks of it from outside: a signature, a bill of materials. */
export type ClosureRole = 'index' | 'image' | 'attestation' | 'referrer';

export interface ClosureBlob extends Descriptor {
  /** It is held elsewhere: registries need not have it (Windows base layers). */
  readonly isForeign: boolean;
}

export interface ClosureManifest extends Descriptor {
  readonly role: ClosureRole;
  /** As its index states it. */
  readonly platform?: Platform;
  /** The manifest that an attestation or a referrer speaks of. */
  readonly subject?: Digest;
  /** What it names that is no manifest. */
  readonly blobs: readonly ClosureBlob[];
}

/** A manifest that belongs to the image and is not to be had. */
export interface MissingManifest {
  readonly digest: Digest;
  readonly role: ClosureRole;
  readonly platform?: Platform;
  /** As of a ClosureManifest. */
  readonly subject?: Digest;
  /** For people. */
  readonly reason: string;
}

/** All that an image consists of. What is not among `missing` was read, whether or not its blobs are there. */
export interface ImageWalk {
  /** Each once, an index before what it names, the root first. */
  readonly manifests: readonly ClosureManifest[];
  /** Each once, in the order of the manifests. */
  readonly blobs: readonly ClosureBlob[];
  readonly missing: readonly MissingManifest[];
  /** Platforms that were wanted and that the image is not made for. */
  readonly unmatched: readonly Platform[];
}

export interface ClosureOptions {
  /** For whom: for each the manifest that it would be served. Empty: everything that there is. */
  readonly platforms: readonly Platform[];
  /** Undefined: it is not to be had here. Throws PullError if upstream was asked in vain. */
  readonly read: (digest: Digest) => Promise<StoredManifest | undefined>;
  /** What refers to a manifest, as far as the caller knows; absent: referrers are left out. */
  readonly referrers?: (subject: Digest) => Promise<readonly Pick<Descriptor, 'digest'>[]>;
  readonly signal?: AbortSignal;
}

/** What is deeper, or more, is no image; every other bound on what one can name is that on a manifest's size. */
const MAX_DEPTH = 4;
const MAX_MANIFESTS = 2000;

/** Walks from the manifest or list `root` to all that belongs to it. Throws only what `read` does besides PullError. */
export async function walkImage(root: Digest, options: ClosureOptions): Promise<ImageWalk> {
  const walk = new ClosureWalk(options);
  await walk.root(root);
  return walk.closure();
}

/** Blobs that more than attestations name: what is only theirs nobody but Docker 29 asks for. */
export function blobsBesideAttestations({ manifests }: ImageWalk): ReadonlySet<Digest> {
  const others = manifests.filter(({ role }) => role !== 'attestation');
  return new Set(others.flatMap(({ blobs }) => blobs.map(({ digest }) => digest)));
}

/** A manifest that is to be part of the closure. */
type Wanted = Pick<ClosureManifest, 'role' | 'platform' | 'subject'> & { readonly digest: Digest };

class ClosureWalk {
  readonly #options: ClosureOptions;
  readonly #manifests = new Map<Digest, ClosureManifest>();
  readonly #contents = new Map<Digest, ManifestContent>();
  readonly #missing = new Map<Digest, MissingManifest>();
  readonly #unmatched: Platform[] = [];

  constructor(options: ClosureOptions) {
    this.#options = options;
  }

  async root(digest: Digest): Promise<void> {
    const { platforms } = this.#options;
    const manifest = await this.#open({ digest, role: 'image' });
    if (manifest === undefined) return;
    if (!isIndexType(manifest.mediaType)) return;
    if (platforms.length === 0) return this.#entries(digest, 1);
    for (const platform of platforms) await this.#forPlatform(manifest, platform);
  }

  closure(): ImageWalk {
    const manifests = [...this.#manifests.values()];
    const blobs = new Map<Digest, ClosureBlob>();
    for (const blob of manifests.flatMap((each) => each.blobs)) {
      // What one manifest only points to, another one may hold.
      if (blobs.get(blob.digest)?.isForeign !== false) blobs.set(blob.digest, blob);
    }
    return {
      manifests,
      blobs: [...blobs.values()],
      missing: [...this.#missing.values()],
      unmatched: this.#unmatched,
    };
  }

  /** The choice is that of serving, so the lists that it looks into on its way belong to the image. */
  async #forPlatform(index: StoredManifest, platform: Platform): Promise<void> {
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
    for (const content of this.#contents.values()) {
      if (content.kind !== 'index') continue;
      for (const entry of content.entries) {
        if (attestedDigest(entry) === digest) await this.#open(attestationOf(entry));
      }
    }
  }

  /** Everything that an index names, and those in it. */
  async #entries(index: Digest, depth: number): Promise<void> {
    const content = this.#contents.get(index);
    if (content?.kind !== 'index') return;
    for (const entry of content.entries) {
      const { digest, mediaType, platform } = entry;
      if (isAttestation(entry)) await this.#open(attestationOf(entry));
      else if (isImageManifestType(mediaType)) {
        await this.#open({ digest, role: 'image', ...(platform === undefined ? {} : { platform }) });
      } else if (isIndexType(mediaType) && !this.#manifests.has(digest)) {
        if (depth >= MAX_DEPTH) this.#miss({ digest, role: 'index' }, 'it is a list too deep inside lists');
        else if ((await this.#open({ digest, role: 'index' })) !== undefined) {
          await this.#entries(digest, depth + 1);
        }
      }
    }
  }

  /** Reads a manifest and takes it in, with what refers to it; undefined if it is not to be had. */
  async #open(wanted: Wanted, depth = 1): Promise<StoredManifest | undefined> {
    const { digest } = wanted;
    this.#options.signal?.throwIfAborted();
    if (this.#missing.has(digest)) return undefined;
    const isNew = !this.#manifests.has(digest);
    if (isNew && this.#manifests.size >= MAX_MANIFESTS) {
      return this.#miss(wanted, `the image has more than ${MAX_MANIFESTS} manifests`);
    }
    const manifest = await this.#read(wanted);
    if (manifest === undefined || !isNew) return manifest;
    if (!this.#take(wanted, manifest)) return undefined;
    if (depth < MAX_DEPTH) await this.#referrersOf(digest, depth);
    return manifest;
  }

  async #referrersOf(subject: Digest, depth: number): Promise<void> {
    for (const { digest } of (await this.#options.referrers?.(subject)) ?? []) {
      await this.#open({ digest, role: 'referrer', subject }, depth + 1);
    }
  }

  async #read(wanted: Wanted): Promise<StoredManifest | undefined> {
    try {
      const manifest = await this.#options.read(wanted.digest);
      return manifest ?? this.#miss(wanted, 'it is not cached');
    } catch (error) {
      if (!(error instanceof PullError)) throw error;
      return this.#miss(wanted, error.message);
    }
  }

  #take(wanted: Wanted, { digest, mediaType, bytes }: StoredManifest): boolean {
    try {
      const { content } = parseManifest(bytes, mediaType);
      const role = content.kind === 'index' && wanted.role === 'image' ? 'index' : wanted.role;
      const blobs = blobsOf(content);
      this.#contents.set(digest, content);
      this.#manifests.set(digest, { ...wanted, role, mediaType, size: bytes.length, blobs });
      return true;
    } catch (error) {
      if (!(error instanceof ManifestInvalidError)) throw error;
      this.#miss(wanted, error.message);
      return false;
    }
  }

  #miss({ digest, role, platform, subject }: Wanted, reason: string): undefined {
    // Beyond the bound one says it for all.
    if (this.#manifests.size >= MAX_MANIFESTS && this.#missing.size > 0) return undefined;
    this.#missing.set(digest, {
      digest,
      role,
      reason,
      ...(platform === undefined ? {} : { platform }),
      ...(subject === undefined ? {} : { subject }),
    });
    return undefined;
  }
}

/** A list inside a list that is not to be had. */
class UnreadableListError extends Error {
  override readonly name = 'UnreadableListError';
  readonly code = 'unreadable-list';
}

function attestationOf(entry: IndexEntry): Wanted {
  const subject = attestedDigest(entry);
  return {
    digest: entry.digest,
    role: 'attestation',
    ...(entry.platform === undefined ? {} : { platform: entry.platform }),
    ...(subject === undefined ? {} : { subject }),
  };
}

function blobsOf(content: ManifestContent): ClosureBlob[] {
  const blobs = (descriptors: readonly Descriptor[], isForeign: boolean): ClosureBlob[] =>
    descriptors.map(({ digest, mediaType, size }) => ({ digest, mediaType, size, isForeign }));
  if (content.kind === 'index') {
    return blobs(
      content.entries.filter(({ mediaType }) => isBlobEntryType(mediaType)),
      false,
    );
  }
  const { config, layers, foreign } = content;
  return [...blobs([config, ...layers], false), ...blobs(foreign, true)];
}
