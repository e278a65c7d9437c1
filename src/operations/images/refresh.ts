import type { TagScope } from '../../mirror/access/rules.ts';
import { PullError } from '../../mirror/answer/errors.ts';
import type { NegativeCache } from '../../mirror/answer/negative-cache.ts';
import type { TagFreshness } from '../../mirror/manifest/freshness.ts';
import { formatImageName, parseImageName } from '../../oci/image-name.ts';
import type { Repository } from '../../oci/reference.ts';
import type { ManifestStore } from '../../store/manifests.ts';
import type { Upstream } from '../../upstream/upstream.ts';
import { type ImageRequest, OperationError, type Refreshed } from '../protocol.ts';

export interface TagRefreshOptions {
  readonly store: ManifestStore;
  readonly upstreams: ReadonlyMap<string, Upstream>;
  readonly freshness: TagFreshness;
  readonly negative: NegativeCache;
  readonly scope: TagScope;
}

/** Checks a cached tag now, even if `tagTtl` has not passed. */
export class TagRefresh {
  readonly #options: TagRefreshOptions;

  constructor(options: TagRefreshOptions) {
    this.#options = options;
  }

  /** Throws OperationError. Always forgets a remembered absence of the tag. */
  async run(request: ImageRequest): Promise<Refreshed> {
    const { store, upstreams, freshness, negative } = this.#options;
    const name = parseImageName(request.image);
    if (name === undefined || name.reference.kind !== 'tag') {
      throw new OperationError('usage', `${JSON.stringify(request.image)} is not the name of a tag`);
    }
    const { repository, reference } = name;
    const { tag } = reference;
    const image = formatImageName(name);
    const upstream = upstreams.get(repository.host);
    if (upstream === undefined) {
      throw new OperationError('usage', `${repository.host} is not an upstream; add it to \`upstreams\``);
    }
    await this.#requireAllowed(repository, tag);
    negative.forget(repository, tag);
    const known = await store.getTag(repository, tag);
    if (known === undefined) throw new OperationError('not-found', `${image} is not cached`);
    const check = await freshness.refresh(upstream, repository, tag, known);
    switch (check.kind) {
      case 'unchanged':
        return { image, result: 'unchanged', digest: check.record.descriptor.digest };
      case 'moved':
        return { image, result: 'moved', from: check.from, to: check.record.descriptor.digest };
      case 'gone': {
        const kept = check.record === undefined ? {} : { digest: check.record.descriptor.digest };
        return { image, result: 'gone', reason: check.error.message, ...kept };
      }
      case 'failed': {
        const reason = check.record.failure ?? `${repository.host} gave no reason`;
        return { image, result: 'unchecked', reason, digest: check.record.descriptor.digest };
      }
    }
  }

  async #requireAllowed(repository: Repository, tag: string): Promise<void> {
    try {
      await this.#options.scope.require(repository, { kind: 'tag', tag });
    } catch (error) {
      if (!(error instanceof PullError)) throw error;
      throw new OperationError('failed', error.message, error);
    }
  }
}
