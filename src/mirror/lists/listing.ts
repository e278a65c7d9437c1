import { formatRepositoryName } from '../../oci/image-name.ts';
import { type Repository, parseRepositoryKey } from '../../oci/reference.ts';
import type { TagPage } from '../../oci/tag-page.ts';
import type { Catalog } from '../../store/manifests.ts';
import { type TagList, type Upstream, failureReason } from '../../upstream/upstream.ts';
import type { RepositoryAccess } from '../access/access.ts';
import type { CatalogQuery, TagAnswer } from '../answer/answers.ts';
import { failureError, saysAbsent } from '../answer/errors.ts';

export interface ListingOptions {
  readonly catalog: Catalog;
  readonly access: RepositoryAccess;
  readonly upstreams: ReadonlyMap<string, Upstream>;
}

/** Lists the tags of upstream and the repositories of the cache. */
export class Listing {
  readonly #options: ListingOptions;

  constructor(options: ListingOptions) {
    this.#options = options;
  }

  /** The tags of upstream; the cached ones if it is unreachable. Throws PullError. */
  async tags(upstream: Upstream, repository: Repository, query: TagPage): Promise<TagAnswer> {
    await this.#options.access.admit(upstream, repository, { kind: 'tags' });
    const { scope } = this.#options.access;
    // For `n=0` the specification requires an empty list, but registries differ.
    const asked = query.n === '0' ? { ...query, n: '1' } : query;
    const outcome = await upstream.listTags(repository.name, asked, { identity: 'configured' });
    if (outcome.kind === 'ok') {
      const { tags, next } = pageOf(outcome.value, query);
      return { tags: scope.tags(repository, tags), next, cache: 'bypass' };
    }
    const what = formatRepositoryName(repository);
    const missing = { host: repository.host, absent: 'repository-unknown' } as const;
    if (saysAbsent(outcome)) throw failureError(outcome, { what, ...missing });
    const known = scope.tags(repository, await this.#options.catalog.listTags(repository));
    if (known.length === 0) throw failureError(outcome, { what: `the tag list of ${what}`, ...missing });
    return { ...page(known, query), cache: 'stale', failure: failureReason(outcome, repository.host) };
  }

  /** Keys (`docker.io/library/golang`) of the cached repositories that clients may see. */
  async repositories(options: CatalogQuery): Promise<string[]> {
    const shown: string[] = [];
    let after = options.after;
    while (shown.length < options.limit) {
      const keys = await this.#options.catalog.listRepositories({
        limit: options.limit,
        after,
      });
      for (const key of keys) {
        if (shown.length >= options.limit) break;
        if (options.mayPull?.(key) !== false && (await this.#isListed(key))) shown.push(key);
      }
      if (keys.length < options.limit) break;
      after = keys.at(-1);
    }
    return shown;
  }

  async #isListed(key: string): Promise<boolean> {
    const repository = parseRepositoryKey(key);
    const upstream = this.#options.upstreams.get(repository.host);
    return upstream !== undefined && this.#options.access.isListed(upstream, repository);
  }
}

/** The requested page, even if upstream ignores `n` and `last`. */
function pageOf(list: TagList, { n, last }: TagPage): TagList {
  if (n === '0') return { tags: [] };
  const at = last === undefined ? -1 : list.tags.indexOf(last);
  const rest = list.tags.slice(at + 1);
  const tags = n === undefined ? rest : rest.slice(0, Number(n));
  const end = tags.at(-1);
  if (tags.length < rest.length && n !== undefined && end !== undefined)
    return { tags, next: { n, last: end } };
  return { tags, next: list.next };
}

/** One page of the sorted `names`. */
function page(names: readonly string[], query: TagPage): TagList {
  const { n, last } = query;
  const rest = last === undefined ? names : names.filter((name) => name > last);
  if (n === undefined) return { tags: rest };
  const tags = rest.slice(0, Number(n));
  const end = tags.at(-1);
  return tags.length < rest.length && end !== undefined ? { tags, next: { n, last: end } } : { tags };
}
