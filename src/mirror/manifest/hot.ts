import type { Digest } from '../../oci/digest.ts';
import type { Manifest } from '../../oci/manifest.ts';
import type { Repository } from '../../oci/reference.ts';
import type { ImageUsage, Remembered, TagRecord } from '../../store/manifests.ts';
import type { Upstream } from '../../upstream/upstream.ts';
import type { RepositoryAccess } from '../access/access.ts';
import type { ContentLinks } from '../access/links.ts';
import type { ManifestAnswer, ManifestRequest } from '../answer/answers.ts';
import type { EarlyChecks } from './early-checks.ts';
import type { IndexEntries } from './entries.ts';
import type { TagFreshness } from './freshness.ts';
import type { PlatformResolver } from './platforms.ts';

export interface HotManifestsOptions {
  readonly remembered: Remembered;
  readonly access: RepositoryAccess;
  readonly links: ContentLinks;
  readonly freshness: TagFreshness;
  readonly watch: EarlyChecks;
  readonly resolver: PlatformResolver;
  readonly usage: ImageUsage;
  readonly members: IndexEntries;
}

/**
 * Answers at once what memory alone can answer, as ManifestPuller would after a dozen waits for what is there already:
 * together they cost more than the answer. Whatever has to be asked, checked, chosen or learnt first is left to that.
 */
export class HotManifests {
  readonly #options: HotManifestsOptions;

  constructor(options: HotManifestsOptions) {
    this.#options = options;
  }

  /** Undefined: it takes more than a look. */
  answer(upstream: Upstream, request: ManifestRequest): ManifestAnswer | undefined {
    const { remembered, access, usage, members } = this.#options;
    const { repository, reference, headOnly } = request;
    // In an outage it matters which blobs are there.
    if (upstream.outage(repository.name) !== undefined) return undefined;
    const known = remembered.repository(repository);
    if (known === undefined || !access.isOpen(upstream, repository, known)) return undefined;
    const manifest =
      reference.kind === 'tag'
        ? this.#tagged(request, reference.tag)
        : this.#linked(repository, reference.digest);
    if (manifest === undefined) return undefined;
    if (reference.kind === 'tag') this.#options.watch.asked(upstream, repository, reference.tag);
    members.note(manifest);
    if (!headOnly) usage.touch(manifest.descriptor.digest);
    return headOnly ? { head: manifest.descriptor, cache: 'hit' } : { manifest, cache: 'hit' };
  }

  /** What a fresh tag names, if the client takes it as it is. */
  #tagged({ repository, client }: ManifestRequest, tag: string): Manifest | undefined {
    const { remembered, resolver } = this.#options;
    const record = remembered.tag(repository, tag);
    if (record === undefined || !this.#isFresh(repository, tag, record)) return undefined;
    const manifest = this.#expanded(repository, record.descriptor.digest);
    return manifest !== undefined && resolver.takes(client, manifest.descriptor.mediaType)
      ? manifest
      : undefined;
  }

  #isFresh(repository: Repository, tag: string, record: TagRecord): boolean {
    return record.failure === undefined && this.#options.freshness.isFresh(repository, tag, record);
  }

  #linked(repository: Repository, digest: Digest): Manifest | undefined {
    const link = this.#options.remembered.link(repository, digest);
    return link === undefined ? undefined : this.#expanded(repository, digest);
  }

  #expanded(repository: Repository, digest: Digest): Manifest | undefined {
    if (!this.#options.links.isExpanded(repository, digest)) return undefined;
    return this.#options.remembered.manifest(digest);
  }
}
