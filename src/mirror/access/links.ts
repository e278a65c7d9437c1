import { LRUCache } from 'lru-cache';
import { atMost } from '../../lib/caches.ts';
import { after, type MaybePromise } from '../../lib/promises.ts';
import { SingleFlight } from '../../lib/single-flight.ts';
import { inTurns } from '../../lib/turns.ts';
import type { Digest } from '../../oci/digest.ts';
import { formatRepositoryName } from '../../oci/image-name.ts';
import { blobsOf, parseManifest, type ManifestContent, type Manifest } from '../../oci/manifest.ts';
import { type Repository, repositoryKey } from '../../oci/reference.ts';
import type { Link, ManifestStore } from '../../store/manifests.ts';
import type { Outcome } from '../../upstream/upstream.ts';
import { failureError, isLate, type PullErrorCode } from '../answer/errors.ts';

const MAX_EXPANDED = 20_000;

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
  /** The repositories for which the blobs of a manifest are linked. Saves parsing the manifest again. */
  readonly #expanded = new LRUCache<Digest, Set<string>>(atMost(MAX_EXPANDED));

  constructor(store: ManifestStore) {
    this.#store = store;
  }

  /** Forgets removed manifests and links: their blobs may no longer be linked. */
  forget(removed: {
    readonly manifests: Iterable<Digest>;
    readonly links: Iterable<readonly [repository: string, digest: Digest]>;
  }): void {
    for (const digest of removed.manifests) this.#expanded.delete(digest);
    for (const [repository, digest] of removed.links) this.#expanded.get(digest)?.delete(repository);
  }

  get(repository: Repository, digest: Digest): MaybePromise<Link | undefined> {
    return this.#store.getLink(repository, digest);
  }

  async add(repository: Repository, digest: Digest, size: number | undefined): Promise<void> {
    await this.#put(repository, digest, size);
  }

  /**
   * Links the blobs of `manifest`, which `repository` holds. If the manifest was cached for another repository, its
   * blobs are not linked to this one yet.
   */
  async expand(repository: Repository, manifest: Manifest): Promise<void> {
    if (this.isExpanded(repository, manifest.descriptor.digest)) return;
    const name = repositoryKey(repository);
    const links = linksOf(parseManifest(manifest.bytes, manifest.descriptor.mediaType).content);
    for await (const digest of inTurns(links.keys())) {
      if ((await this.#store.getLink(repository, digest)) === undefined) {
        await this.#store.putLinks(repository, links);
        break;
      }
    }
    const expanded = this.#expanded.get(manifest.descriptor.digest);
    if (expanded === undefined) this.#expanded.set(manifest.descriptor.digest, new Set([name]));
    else expanded.add(name);
  }

  /** Whether `expand` was called before. Then the repository also holds the manifest. */
  isExpanded(repository: Repository, manifest: Digest): boolean {
    return this.#expanded.get(manifest)?.has(repositoryKey(repository)) === true;
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
