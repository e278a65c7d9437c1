import type { Digest } from '../oci/digest.ts';
import { formatImageName, type ImageName } from '../oci/image-name.ts';
import type { Descriptor } from '../oci/manifest.ts';
import type { ManifestStore, TagRecord } from '../store/manifest-store.ts';
import type { Upstream } from '../upstream/upstream.ts';
import type { ContentLinks } from './content-links.ts';
import type { TagFreshness } from './freshness.ts';
import { failureError, failureReason } from './outcome-error.ts';
import { inPatience } from './patience.ts';
import { PullError } from './pull-error.ts';
import type { RepositoryAccess } from './repository-access.ts';

/** What a name stands for. */
export interface Looked {
  readonly descriptor: Descriptor;
  /** `hit`: the cache says so. `revalidated`: upstream says so now. */
  readonly cache: 'hit' | 'revalidated' | 'stale';
  /** Why upstream could not be asked; with `stale` only. */
  readonly reason?: string;
}

export interface ManifestLookOptions {
  readonly store: ManifestStore;
  readonly access: RepositoryAccess;
  readonly links: ContentLinks;
  readonly freshness: TagFreshness;
}

/** Says what a name stands for by the cache and by a HEAD, which costs no pull. Moves no tag and keeps nothing. */
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
      const descriptor = await this.#head(upstream, name);
      if (descriptor !== undefined) return { descriptor, cache: 'revalidated' };
      const what = `${formatImageName(name)} is not cached, and a HEAD of it names no digest: see --fetch`;
      throw new PullError('unavailable', what);
    }
    const isFresh = record.checkedAt > freshness.freshSince(repository, tag);
    if (isFresh) return record.failure === undefined ? hit(record) : stale(record, record.failure);
    const asked = upstream.headManifest(repository.name, name.reference, { identity: 'configured' });
    const waited = await inPatience(asked, upstream, repository);
    if (!waited.inTime) return stale(record, waited.reason);
    if (waited.value.kind !== 'ok') return stale(record, failureReason(waited.value));
    return { descriptor: waited.value.value ?? record.descriptor, cache: 'revalidated' };
  }

  async #digest(upstream: Upstream, name: ImageName, digest: Digest): Promise<Looked> {
    const { store, links } = this.#options;
    const { repository, reference } = name;
    const stored = await store.getManifest(digest);
    if (stored === undefined) {
      const told = await this.#head(upstream, name);
      return { descriptor: told ?? { digest, mediaType: '', size: 0 }, cache: 'revalidated' };
    }
    await links.require(repository, digest, {
      head: () => upstream.confirmManifest(repository.name, reference, { identity: 'configured' }),
      absent: 'manifest-unknown',
    });
    const { mediaType, bytes } = stored;
    return { descriptor: { digest, mediaType, size: bytes.length }, cache: 'hit' };
  }

  async #head(upstream: Upstream, name: ImageName): Promise<Descriptor | undefined> {
    const { repository, reference } = name;
    const outcome = await upstream.headManifest(repository.name, reference, { identity: 'configured' });
    if (outcome.kind !== 'ok') throw failureError(outcome, formatImageName(name), 'manifest-unknown');
    return outcome.value;
  }
}

function hit({ descriptor }: TagRecord): Looked {
  return { descriptor, cache: 'hit' };
}

function stale({ descriptor }: TagRecord, reason: string): Looked {
  return { descriptor, cache: 'stale', reason };
}
