import { inTurns } from '../lib/in-turns.ts';
import type { Digest } from '../oci/digest.ts';
import { formatFullName, type FullName } from '../oci/image-name.ts';
import type { Repository } from '../oci/reference.ts';
import type { Link, ManifestStore } from '../store/manifest-store.ts';
import { PullError } from './pull-error.ts';
import type { PullRules } from './pull-rules.ts';

/** What somebody wants of a repository. */
export type Wanted =
  | { readonly kind: 'tag'; readonly tag: string }
  | { readonly kind: 'digest'; readonly digest: Digest }
  /** A list of what is in it. */
  | { readonly kind: 'list' };

/** What upstream has said of a repository, without a manifest of ours that says so. */
const BY_UPSTREAM: Link = { by: 'upstream' };

/**
 * Holds requests to the rules. Where these let some tags through and not others, a digest is let through if it
 * belongs to one of those, which is known from what was served under them: a tag that is refused is never asked for,
 * so nothing that only it names is linked here.
 */
export class TagScope {
  readonly #rules: PullRules;
  readonly #store: ManifestStore;

  constructor(rules: PullRules, store: ManifestStore) {
    this.#rules = rules;
    this.#store = store;
  }

  /** Throws PullError `denied`. */
  async require(repository: Repository, wanted: Wanted): Promise<void> {
    const rule = this.#rules.of(repository);
    if (rule === 'all') return;
    if (rule === 'none') throw denied({ repository });
    switch (wanted.kind) {
      case 'list':
        return;
      case 'tag':
        if (!this.#rules.allowsTag(repository, wanted.tag)) throw denied({ repository, tag: wanted.tag });
        return;
      case 'digest':
        if ((await this.#store.getLink(repository, wanted.digest)) !== undefined) return;
        throw denied({ repository, digest: wanted.digest }, 'no tag that may be pulled is known to name it');
    }
  }

  /** Upstream names these to somebody who may have them, and who may ask another server of the fleet for them next. */
  async name(repository: Repository, digests: Iterable<Digest>): Promise<void> {
    if (this.#rules.of(repository) !== 'some-tags') return;
    const links = new Map<Digest, Link>();
    for await (const digest of inTurns(digests)) {
      if ((await this.#store.getLink(repository, digest)) === undefined) links.set(digest, BY_UPSTREAM);
    }
    if (links.size > 0) await this.#store.putLinks(repository, links);
  }

  holdsBackNothing(repository: Repository): boolean {
    return this.#rules.of(repository) === 'all';
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

function denied(name: FullName, why = 'by the settings of this mirror'): PullError {
  return new PullError('denied', `${formatFullName(name)} may not be pulled here: ${why}`);
}
