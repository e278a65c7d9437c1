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
 * What a repository evidently holds once it serves a manifest: the config and layers of an image. Not its foreign
 * layers, nor the entries of an index: a registry may take both without holding them (OCI distribution-spec, "Pushing
 * Manifests"), so naming one proves nothing. An entry is linked when it comes from the repository itself.
 */
export function linksOf(content: ManifestContent): Map<Digest, Link> {
  const named = content.kind === 'index' ? [] : blobsOf(content);
  return new Map(named.map(({ digest, size }) => [digest, { by: 'manifest', size }]));
}

interface Confirmation {
  readonly head: () => Promise<Outcome<{ readonly size?: number | undefined }>>;
  readonly absent: PullErrorCode;
}

/** Proofs that content belongs to a repository, so that a layer is not had by its digest through another one. */
export class ContentLinks {
  readonly #store: ManifestStore;
  readonly #confirmations = new SingleFlight<Link>(isLate);
  /** Manifests and the repositories to which their content is known to be linked: saves parsing them each time. */
  readonly #expanded = new LRUCache<Digest, Set<string>>(atMost(MAX_EXPANDED));

  constructor(store: ManifestStore) {
    this.#store = store;
  }

  /** These manifests are stored no longer, or not in these repositories: their content need not be linked. */
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
    const link: Link = { by: 'upstream', ...(size === undefined ? {} : { size }) };
    await this.#store.putLinks(repository, new Map([[digest, link]]));
  }

  /**
   * Links what `manifest` names, which `repository` is known to hold. It may have come into the cache through
   * another repository, and then its content is not linked here yet.
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

  /** Whether that has been done, and so the repository is known to hold the manifest. */
  isExpanded(repository: Repository, manifest: Digest): boolean {
    return this.#expanded.get(manifest)?.has(repositoryKey(repository)) === true;
  }

  /**
   * The link of content that is in the cache already; asks upstream by `head` if there is none yet.
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
      await this.add(repository, digest, size);
      return { by: 'upstream', ...(size === undefined ? {} : { size }) };
    }).promise;
  }
}
