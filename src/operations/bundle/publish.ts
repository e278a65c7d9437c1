import type { BundledUnit, ReadManifest } from '../../bundle/images.ts';
import type { RepositoryAccess } from '../../mirror/access/access.ts';
import { linksOf } from '../../mirror/access/links.ts';
import type { NegativeCache } from '../../mirror/answer/negative-cache.ts';
import type { Referrers } from '../../mirror/lists/referrers.ts';
import type { Digest } from '../../oci/digest.ts';
import { formatImageName } from '../../oci/image-name.ts';
import { referenceText } from '../../oci/reference.ts';
import { BlobStoreError } from '../../store/blobs.ts';
import type { ImageUsage, Link, ManifestStore } from '../../store/manifests.ts';

export interface BundlePublisherOptions {
  readonly store: ManifestStore;
  /** The part of `store` on disk. It may refuse a write that `store` accepts in memory. */
  readonly durable: ManifestStore;
  readonly access: RepositoryAccess;
  readonly negative: NegativeCache;
  readonly referrers: Referrers;
  readonly usage: ImageUsage;
  readonly now: () => number;
}

/** Makes the images of a bundle visible to clients, after all blobs are stored. */
export class BundlePublisher {
  readonly #options: BundlePublisherOptions;

  constructor(options: BundlePublisherOptions) {
    this.#options = options;
  }

  /**
   * Writes the manifests, then all links in one transaction, then the tag. So after a crash, clients see the whole unit or
   * nothing of it. Throws BlobStoreError if a write to the disk fails.
   */
  async publish(unit: BundledUnit): Promise<void> {
    const { store, durable, access } = this.#options;
    const { repository, manifests } = unit;
    await Promise.all(manifests.map(({ descriptor, bytes }) => store.putManifest({ descriptor, bytes })));
    await store.putLinks(repository, linksTo(manifests));
    for (const { descriptor } of manifests) {
      const { digest } = descriptor;
      const isKept =
        (await durable.getManifest(digest)) !== undefined &&
        (await durable.getLink(repository, digest)) !== undefined;
      if (!isKept) throw refused(digest);
    }
    // The operator who imports a bundle decides that clients may pull its images.
    await access.presumePublic(repository);
    for (const { descriptor } of manifests) this.#options.negative.forget(repository, descriptor.digest);
    switch (unit.kind) {
      case 'image':
        return this.#publishName(unit);
      case 'referrers':
        return this.#options.referrers.learn(repository, unit.list.subject, unit.list.bytes);
    }
  }

  async #publishName({ repository, name, root }: BundledUnit & { readonly kind: 'image' }): Promise<void> {
    const { store, durable, negative, usage, now } = this.#options;
    const { descriptor } = root;
    usage.touch(descriptor);
    negative.forget(repository, referenceText(name.reference));
    if (name.reference.kind === 'digest') return;
    // The import counts as a tag check: the next one is due after `tagTtl`.
    const at = now();
    const { tag } = name.reference;
    await store.putTag(repository, tag, { descriptor, checkedAt: at, confirmedAt: at });
    const kept = await durable.getTag(repository, tag);
    if (kept?.descriptor.digest !== descriptor.digest) throw refused(formatImageName(name));
  }
}

function refused(what: string): BlobStoreError {
  return new BlobStoreError('disk-failed', `cannot write ${what} to the index`);
}

function linksTo(manifests: readonly ReadManifest[]): Map<Digest, Link> {
  const links = new Map<Digest, Link>();
  for (const { descriptor, foreign } of manifests) {
    links.set(descriptor.digest, { by: 'upstream', size: descriptor.size });
    for (const layer of foreign) links.set(layer.digest, { by: 'upstream', size: layer.size });
  }
  for (const { content } of manifests) for (const [digest, link] of linksOf(content)) links.set(digest, link);
  return links;
}
