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
  /** The part of `store` that outlives this process. It may refuse what `store` takes. */
  readonly durable: ManifestStore;
  readonly access: RepositoryAccess;
  readonly negative: NegativeCache;
  readonly referrers: Referrers;
  readonly usage: ImageUsage;
  readonly now: () => number;
}

/** Makes visible what a bundle has brought, once all of its blobs are stored. */
export class BundlePublisher {
  readonly #options: BundlePublisherOptions;

  constructor(options: BundlePublisherOptions) {
    this.#options = options;
  }

  /**
   * The manifests first, then at once all links by which they can be had by digest, then the tag: whenever this ends,
   * there is all of it or nothing that a client could see. Throws BlobStoreError if the disk refuses the index.
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
    // Who brings it here wants it served to those who are served here.
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
    usage.touch(descriptor.digest);
    negative.forget(repository, referenceText(name.reference));
    if (name.reference.kind === 'digest') return;
    // The import is as good as a check: where upstream answers, the next one is due after the tag's usual time.
    const at = now();
    const { tag } = name.reference;
    await store.putTag(repository, tag, { descriptor, checkedAt: at, confirmedAt: at });
    const kept = await durable.getTag(repository, tag);
    if (kept?.descriptor.digest !== descriptor.digest) throw refused(formatImageName(name));
  }
}

function refused(what: string): BlobStoreError {
  return new BlobStoreError('disk-failed', `the index does not take ${what}`);
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
