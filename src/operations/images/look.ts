import type { RepositoryAccess } from '../../mirror/access/access.ts';
import type { ContentLinks } from '../../mirror/access/links.ts';
import { failureError, PullError } from '../../mirror/answer/errors.ts';
import { withinTimeLimit } from '../../mirror/answer/time-limit.ts';
import type { TagFreshness } from '../../mirror/manifest/freshness.ts';
import type { Digest } from '../../oci/digest.ts';
import { formatImageName, type ImageName } from '../../oci/image-name.ts';
import type { Descriptor } from '../../oci/manifest.ts';
import type { ManifestStore, TagRecord } from '../../store/manifests.ts';
import { type Upstream, failureReason } from '../../upstream/upstream.ts';

/** The manifest that a name stands for. */
export interface Looked {
  readonly descriptor: Descriptor;
  /** `hit`: from the cache. `revalidated`: upstream was asked now. */
  readonly cache: 'hit' | 'revalidated' | 'stale';
  /** With `stale` only: why the tag check failed. */
  readonly reason?: string;
}

export interface ManifestLookOptions {
  readonly store: ManifestStore;
  readonly access: RepositoryAccess;
  readonly links: ContentLinks;
  readonly freshness: TagFreshness;
}

/** Finds the manifest of a name in the cache or by HEAD, which costs no pull. Moves no tag and stores nothing. */
export class ManifestLook {
  readonly #options: ManifestLookOptions;

  constructor(options: ManifestLookOptions) {
    this.#options = options;
  }

  /** Throws PullError. */
  async at(upstream: Upstream, name: ImageName): Promise<Looked> {
    const { repository, reference } = name;
    await this.#options.access.admit(upstream, repository, { kind: 'manifest', reference });
    return reference.kind === 'tag'
      ? this.#tag(upstream, name, reference.tag)
      : this.#digest(upstream, name, reference.digest);
  }

  async #tag(upstream: Upstream, name: ImageName, tag: string): Promise<Looked> {
    const { store, freshness } = this.#options;
    const { repository } = name;
    const record = await store.getTag(repository, tag);
    if (record === undefined) {
      return { descriptor: await this.#head(upstream, name), cache: 'revalidated' };
    }
    if (freshness.isFresh(repository, tag, record))
      return record.failure === undefined ? hit(record) : stale(record, record.failure);
    const asked = upstream.headManifest(repository.name, name.reference, { identity: 'configured' });
    const waited = await withinTimeLimit(asked, upstream, repository);
    if (!waited.inTime) return stale(record, waited.reason);
    if (waited.value.kind !== 'ok') return stale(record, failureReason(waited.value, repository.host));
    const descriptor = waited.value.value;
    return descriptor === undefined
      ? stale(record, `${repository.host} sent no digest in its answer to HEAD`)
      : { descriptor, cache: 'revalidated' };
  }

  async #digest(upstream: Upstream, name: ImageName, digest: Digest): Promise<Looked> {
    const { store, links } = this.#options;
    const stored = await store.getManifest(digest);
    const isKnown = stored !== undefined && (await links.get(name.repository, digest)) !== undefined;
    const descriptor = isKnown ? stored.descriptor : await this.#head(upstream, name);
    return { descriptor, cache: isKnown ? 'hit' : 'revalidated' };
  }

  /** Some registries answer HEAD without a digest, or with 404 for a manifest that GET finds. A GET would be a pull. */
  async #head(upstream: Upstream, name: ImageName): Promise<Descriptor> {
    const { repository, reference } = name;
    const outcome = await upstream.headManifest(repository.name, reference, { identity: 'configured' });
    const what = formatImageName(name);
    if (outcome.kind !== 'ok') {
      throw failureError(outcome, { what, host: repository.host, absent: 'manifest-unknown' });
    }
    if (outcome.value !== undefined) return outcome.value;
    throw new PullError(
      'manifest-unknown',
      `${what} is not cached, and ${repository.host} sent no digest in its answer to HEAD; use --fetch`,
    );
  }
}

function hit({ descriptor }: TagRecord): Looked {
  return { descriptor, cache: 'hit' };
}

function stale({ descriptor }: TagRecord, reason: string): Looked {
  return { descriptor, cache: 'stale', reason };
}
