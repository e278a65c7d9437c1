import { LRUCache } from 'lru-cache';
import type { Digest } from '../oci/digest.ts';
import { repositoryKey, type Repository } from '../oci/reference.ts';
import type { ManifestStore } from '../store/manifest-store.ts';
import { PullError } from './pull-error.ts';
import type { PullRules } from './pull-rules.ts';

/** What somebody wants of a repository. */
export type Wanted =
  | { readonly kind: 'tag'; readonly tag: string }
  | { readonly kind: 'digest'; readonly digest: Digest }
  /** A list of what is in it. */
  | { readonly kind: 'list' };

/** Digests that were named to clients and may not be linked yet; a pull asks for them within seconds. */
const MAX_NAMED = 20_000;

/**
 * Holds requests to the rules. Where these let some tags through and not others, a digest is let through if it
 * belongs to one of those, which is known from what was served under them: a tag that is refused is never asked for,
 * so nothing that only it names is linked here.
 */
export class TagScope {
  readonly #rules: PullRules;
  readonly #store: ManifestStore;
  readonly #named = new LRUCache<string, true>({ max: MAX_NAMED });

  constructor(rules: PullRules, store: ManifestStore) {
    this.#rules = rules;
    this.#store = store;
  }

  /** Throws PullError `denied`. */
  async require(repository: Repository, wanted: Wanted): Promise<void> {
    const rule = this.#rules.of(repository);
    if (rule === 'all') return;
    if (rule === 'none') throw denied(repository, '');
    switch (wanted.kind) {
      case 'list':
        return;
      case 'tag':
        if (!this.#rules.allowsTag(repository, wanted.tag)) throw denied(repository, `:${wanted.tag}`);
        return;
      case 'digest':
        if (this.#named.get(key(repository, wanted.digest)) === true) return;
        if ((await this.#store.getLink(repository, wanted.digest)) !== undefined) return;
        throw denied(repository, `@${wanted.digest}`, 'no tag that may be pulled is known to name it');
    }
  }

  /** These go to somebody who may have what names them. */
  name(repository: Repository, digests: Iterable<Digest>): void {
    if (this.#rules.of(repository) !== 'some-tags') return;
    for (const digest of digests) this.#named.set(key(repository, digest), true);
  }

  isListed(repository: Repository): boolean {
    return this.#rules.of(repository) !== 'none';
  }

  /** Those of `tags` that may be pulled. */
  tags(repository: Repository, tags: readonly string[]): readonly string[] {
    if (this.#rules.of(repository) === 'all') return tags;
    return tags.filter((tag) => this.#rules.allowsTag(repository, tag));
  }
}

function key(repository: Repository, digest: Digest): string {
  return `${repositoryKey(repository)}@${digest}`;
}

function denied(repository: Repository, what: string, why = 'by the settings of this mirror'): PullError {
  return new PullError('denied', `${repositoryKey(repository)}${what} may not be pulled here: ${why}`);
}
