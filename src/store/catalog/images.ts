import type { Digest } from '../../oci/digest.ts';
import { formatFullName } from '../../oci/image-name.ts';
import { type Reference, type Repository, parseRepositoryKey, repositoryKey } from '../../oci/reference.ts';
import { ImageError, type ImageEntry, type Images, type RemovedImages } from '../images.ts';
import { isPinned } from '../index/closure.ts';
import { attestationsOf, subjectsOf } from '../index/manifests.ts';
import type { Pin } from '../index/pins.ts';
import { removeManifest, unlinkManifest, type Removed } from '../index/removal.ts';
import type { IndexTables } from '../index/tables.ts';
import { pinnedDigest, type PinnedBytes } from '../space/protection.ts';
import type { Remover } from '../space/remover.ts';
import { listImages } from './list.ts';

/** Pins may hold this share of `cacheSize`; the rest is for images that are evicted. */
const PINNED_SHARE = 0.9;

export interface ImageCatalogOptions {
  readonly tables: IndexTables;
  readonly remover: Remover;
  readonly pinned: PinnedBytes;
  readonly limitBytes: number;
  readonly now: () => number;
}

/** The images of the index. Only for the owner of the data directory. */
export class ImageCatalog implements Images {
  readonly #options: ImageCatalogOptions;

  constructor(options: ImageCatalogOptions) {
    this.#options = options;
  }

  list(): AsyncGenerator<ImageEntry, void> {
    return listImages(this.#options.tables);
  }

  async pin(repository: Repository, reference: Reference): Promise<void> {
    const { pinned } = this.#options;
    const pin = pinOf(repository, reference);
    this.#require(pin);
    this.#requireShare((await pinned.closure(pin)).blobs, describe(pin));
    await this.#put([pin]);
  }

  async requireRoom(added: ReadonlyMap<Digest, number>, what: string): Promise<void> {
    const { blobs } = await this.#options.pinned.closure();
    this.#requireShare(new Map([...blobs, ...added]), what);
  }

  async pinAll(
    names: readonly { readonly repository: Repository; readonly reference: Reference }[],
  ): Promise<void> {
    const pins = names.map(({ repository, reference }) => pinOf(repository, reference));
    for (const pin of pins) this.#require(pin);
    await this.#put(pins);
  }

  async unpin(repository: Repository, reference: Reference): Promise<boolean> {
    const { tables, pinned } = this.#options;
    const wasPinned = await tables.environment.write(() => tables.pins.remove(pinOf(repository, reference)), {
      frees: true,
    });
    await pinned.measure();
    return wasPinned;
  }

  async remove(repository: Repository, reference: Reference): Promise<RemovedImages> {
    const { tables, remover } = this.#options;
    const pin = pinOf(repository, reference);
    const digest = this.#require(pin);
    // A tag may be removed although another, pinned tag names the same digest.
    if (tables.pins.has(pin) || (pin.kind === 'digest' && isPinned(tables, digest))) {
      throw new ImageError('pinned', `${describe(pin)} is pinned; unpin it first`);
    }
    const name = repositoryKey(repository);
    const removed = await remover.remove('request', (taken) => {
      if (reference.kind === 'tag') this.#removeTag(name, reference.tag, taken);
      else this.#removeDigest(name, digest, taken);
      tables.repositories.unlistIfEmpty(name);
    });
    return {
      manifests: removed.manifests.size,
      blobs: removed.blobs.size,
      bytes: [...removed.blobs.values()].reduce((sum, size) => sum + size, 0),
    };
  }

  async #put(pins: readonly Pin[]): Promise<void> {
    const { tables, pinned, now } = this.#options;
    await tables.environment.write(() => pins.forEach((pin) => tables.pins.put(pin, now())));
    await pinned.measure();
  }

  #requireShare(blobs: ReadonlyMap<Digest, number>, what: string): void {
    const { limitBytes } = this.#options;
    const bytes = [...blobs.values()].reduce((sum, size) => sum + size, 0);
    const maxBytes = Math.floor(PINNED_SHARE * limitBytes);
    if (bytes <= maxBytes) return;
    const limit = `${maxBytes} (${PINNED_SHARE * 100} % of cacheSize)`;
    throw new ImageError(
      'too-large',
      `pins with ${what} would hold ${bytes} bytes, more than ${limit}; unpin images or raise cacheSize`,
    );
  }

  #require(pin: Pin): Digest {
    const { tables } = this.#options;
    const digest = pinnedDigest(tables, pin);
    const isCached =
      digest !== undefined &&
      tables.manifests.has(digest) &&
      (pin.kind === 'tag' || tables.links.get(pin.repository, digest) !== undefined);
    if (isCached) return digest;
    throw new ImageError('unknown', `${describe(pin)} is not cached`);
  }

  #removeTag(repository: string, tag: string, removed: Removed): void {
    const { tables } = this.#options;
    const digest = tables.tags.get([repository, tag])?.descriptor.digest;
    if (digest === undefined) return;
    tables.tags.remove([repository, tag]);
    removed.tags.push([repository, tag]);
    if (this.#isFree(digest)) this.#removeWhole(digest, removed);
  }

  #removeDigest(repository: string, digest: Digest, removed: Removed): void {
    const { tables } = this.#options;
    for (const key of tables.tags.naming(digest)) {
      if (key[0] !== repository) continue;
      tables.tags.remove(key);
      removed.tags.push(key);
    }
    const attestations = attestationsOf(tables, digest).filter((each) => this.#mayGo(each));
    unlinkManifest(tables, repository, digest, removed);
    if (!this.#isHeldElsewhere(digest)) this.#removeWhole(digest, removed);
    for (const each of attestations) {
      unlinkManifest(tables, repository, each, removed);
      if (!this.#isHeldElsewhere(each)) removeManifest(tables, each, removed);
    }
  }

  /** Whether another repository has a link or a tag for the digest. */
  #isHeldElsewhere(digest: Digest): boolean {
    const { links, tags } = this.#options.tables;
    return links.holdersOf(digest).length > 0 || tags.naming(digest).length > 0;
  }

  /** Whether an attestation may be removed with its image: no other image, tag or pin needs it. */
  #mayGo(attestation: Digest): boolean {
    const { tables } = this.#options;
    const isOfOthers = subjectsOf(tables, attestation).length > 1;
    return !isOfOthers && tables.tags.naming(attestation).length === 0 && !isPinned(tables, attestation);
  }

  #removeWhole(digest: Digest, removed: Removed): void {
    const { tables } = this.#options;
    const content = tables.manifests.content(digest);
    removeManifest(tables, digest, removed);
    if (content?.kind !== 'index') return;
    for (const entry of content.entries) {
      if (this.#isFree(entry.digest)) removeManifest(tables, entry.digest, removed);
    }
  }

  /** Whether no tag, no index and no pin names the digest. */
  #isFree(digest: Digest): boolean {
    const { tags, references, pins } = this.#options.tables;
    return tags.naming(digest).length === 0 && !references.isNamed(digest) && !pins.hasDigest(digest);
  }
}

function pinOf(repository: Repository, reference: Reference): Pin {
  const name = repositoryKey(repository);
  return reference.kind === 'tag'
    ? { kind: 'tag', repository: name, tag: reference.tag }
    : { kind: 'digest', repository: name, digest: reference.digest };
}

function describe(pin: Pin): string {
  const repository = parseRepositoryKey(pin.repository);
  return formatFullName(
    pin.kind === 'tag' ? { repository, tag: pin.tag } : { repository, digest: pin.digest },
  );
}
