import { after, type MaybePromise } from '../../lib/promises.ts';
import { SingleFlight } from '../../lib/single-flight.ts';
import type { Digest } from '../../oci/digest.ts';
import { formatRepositoryName } from '../../oci/image-name.ts';
import { blobsOf, parseManifest, type ManifestContent, type Manifest } from '../../oci/manifest.ts';
import { isIndexType } from '../../oci/media-types.ts';
import { type Repository, repositoryKey } from '../../oci/reference.ts';
import type { Link, ManifestStore } from '../../store/manifests.ts';
import type { Outcome } from '../../upstream/upstream.ts';
import { failureError, isLate, type PullErrorCode } from '../answer/errors.ts';

/**
 * The blobs that a repository must hold if it serves a manifest: config and layers of an image. Foreign layers and the
 * entries of an index are no proof: a registry may accept a manifest without them (OCI distribution-spec, "Pushing
 * Manifests"). An entry is linked when the repository itself serves it.
 */
export function linksOf(content: ManifestContent): Map<Digest, Link> {
  const named = content.kind === 'index' ? [] : blobsOf(content);
  return new Map(named.map(({ digest, size }) => [digest, { by: 'manifest', size }]));
}

interface Confirmation {
  readonly head: () => Promise<Outcome<{ readonly size?: number | undefined }>>;
  readonly absent: PullErrorCode;
}

/**
 * Proofs that a repository holds a digest. Without one, a client could get a private layer through another repository.
 */
export class ContentLinks {
  readonly #store: ManifestStore;
  readonly #confirmations = new SingleFlight<Link>(isLate);

  constructor(store: ManifestStore) {
    this.#store = store;
  }

  get(repository: Repository, digest: Digest): MaybePromise<Link | undefined> {
    return this.#store.getLink(repository, digest);
  }

  async add(repository: Repository, digest: Digest, size: number | undefined): Promise<void> {
    await this.#put(repository, digest, size);
  }

  /**
   * Links the blobs of `manifest`, which `repository` holds; at once if the link of the manifest says that this was
   * done. If the manifest was cached for another repository, its blobs are not linked to this one yet.
   */
  expand(repository: Repository, manifest: Manifest): MaybePromise<void> {
    const { digest, mediaType } = manifest.descriptor;
    if (isIndexType(mediaType)) return undefined;
    return after(this.#store.getLink(repository, digest), (own) => {
      return own?.withBlobs === true ? undefined : this.#expand(repository, manifest, own);
    });
  }

  async #expand(repository: Repository, manifest: Manifest, own: Link | undefined): Promise<void> {
    const { digest, mediaType } = manifest.descriptor;
    const links = linksOf(parseManifest(manifest.bytes, mediaType).content);
    // Last, so that a kill in between leaves no claim that is wrong.
    if (own !== undefined) links.set(digest, { ...own, withBlobs: true });
    await this.#store.putLinks(repository, links);
  }

  /**
   * The link of cached content. If there is none yet, asks upstream by `head`.
   * Throws PullError `absent` or `unavailable`.
   */
  require(repository: Repository, digest: Digest, confirmation: Confirmation): MaybePromise<Link> {
    return after(
      this.#store.getLink(repository, digest),
      (known) => known ?? this.#confirm(repository, digest, confirmation),
    );
  }

  #confirm(repository: Repository, digest: Digest, confirm: Confirmation): Promise<Link> {
    return this.#confirmations.run(`${repositoryKey(repository)}@${digest}`, async () => {
      const outcome = await confirm.head();
      if (outcome.kind !== 'ok') {
        const what = `${digest} of ${formatRepositoryName(repository)}`;
        throw failureError(outcome, { what, host: repository.host, absent: confirm.absent });
      }
      const { size } = outcome.value;
      return this.#put(repository, digest, size);
    }).promise;
  }

  async #put(repository: Repository, digest: Digest, size: number | undefined): Promise<Link> {
    // Links are stored, so an unknown size gets no key.
    const link: Link = { by: 'upstream', ...(size === undefined ? {} : { size }) };
    await this.#store.putLinks(repository, new Map([[digest, link]]));
    return link;
  }
}
