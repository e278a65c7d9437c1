import { compileGlob } from '../../lib/glob.ts';
import { inTurns } from '../../lib/turns.ts';
import type { Digest } from '../../oci/digest.ts';
import { formatFullName, type FullName } from '../../oci/image-name.ts';
import { DOCKER_HUB, registryPattern, type Repository } from '../../oci/reference.ts';
import type { ManifestStore } from '../../store/manifests.ts';
import { PullError } from '../answer/errors.ts';

/** Patterns `repository[:tag]` of one upstream. */
export interface PullPatterns {
  /** Undefined: all repositories. */
  readonly allow?: readonly string[];
  /** Wins over `allow`. */
  readonly deny?: readonly string[];
}

/** How much of a repository clients may pull. `some-tags`: depends on the tag. */
export type RepositoryRule = 'all' | 'some-tags' | 'none';

interface Pattern {
  readonly fitsRepository: (name: string) => boolean;
  /** Undefined: the pattern names the whole repository. */
  readonly fitsTag: ((tag: string) => boolean) | undefined;
}

interface Compiled {
  readonly allow: readonly Pattern[] | undefined;
  readonly deny: readonly Pattern[];
}

const EVERYTHING: Compiled = { allow: undefined, deny: [] };

/** The `allow` and `deny` rules of the settings, for all clients. */
export class PullRules {
  readonly #byHost: ReadonlyMap<string, Compiled>;

  constructor(patterns: Readonly<Record<string, PullPatterns>>) {
    this.#byHost = new Map(
      Object.entries(patterns).map(([host, { allow, deny = [] }]) => [
        host,
        {
          allow: allow?.map((pattern) => compile(host, pattern)),
          deny: deny.map((pattern) => compile(host, pattern)),
        },
      ]),
    );
  }

  of({ host, name }: Repository): RepositoryRule {
    const { allow, deny } = this.#byHost.get(host) ?? EVERYTHING;
    if (allow === undefined && deny.length === 0) return 'all';
    const allowing = allow?.filter(({ fitsRepository }) => fitsRepository(name));
    const denying = deny.filter(({ fitsRepository }) => fitsRepository(name));
    if (allowing?.length === 0 || denying.some(isWhole)) return 'none';
    return denying.length === 0 && (allowing?.some(isWhole) ?? true) ? 'all' : 'some-tags';
  }

  allowsTag({ host, name }: Repository, tag: string): boolean {
    const { allow, deny } = this.#byHost.get(host) ?? EVERYTHING;
    const fits = ({ fitsRepository, fitsTag }: Pattern): boolean =>
      fitsRepository(name) && (fitsTag?.(tag) ?? true);
    return (allow?.some(fits) ?? true) && !deny.some(fits);
  }
}

function isWhole({ fitsTag }: Pattern): boolean {
  return fitsTag === undefined;
}

/**
 * `*` alone is every repository. On docker.io, `golang` is short for `library/golang`. The pattern may begin with the
 * registry, as in the rules for accounts: otherwise such a `deny` pattern would match nothing.
 */
function compile(host: string, spelling: string): Pattern {
  const pattern = registryPattern(spelling);
  const prefix = `${host}/`;
  const [repository = '', tag] = pattern.slice(pattern.startsWith(prefix) ? prefix.length : 0).split(':');
  const isShort = host === DOCKER_HUB && !repository.includes('/') && repository !== '**';
  const whole = repository === '*' ? '**' : isShort ? `library/${repository}` : repository;
  return {
    fitsRepository: compileGlob(whole),
    fitsTag: tag === undefined ? undefined : compileGlob(tag),
  };
}

/** The part of a repository that a request asks for. */
export type Wanted =
  | { readonly kind: 'tag'; readonly tag: string }
  | { readonly kind: 'digest'; readonly digest: Digest }
  /** Tags or referrers. */
  | { readonly kind: 'list' };

/**
 * Enforces the rules. If only some tags are allowed, a digest is allowed if it has a link or an offer. Allowed tags
 * make links and offers. A refused tag is never sent upstream, so its own digests get neither. An offer allows a client
 * to ask for a digest; to get it from the cache, a link is needed as well (links.ts).
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
        if (await this.#store.isOffered(repository, wanted.digest)) return;
        throw denied({ repository, digest: wanted.digest }, 'no allowed tag was pulled that contains it');
    }
  }

  /**
   * Records digests that a client has learnt from an allowed tag. It may ask another server of the fleet for them next.
   */
  async offer(repository: Repository, digests: Iterable<Digest>): Promise<void> {
    if (this.#rules.of(repository) !== 'some-tags') return;
    const offers = new Set<Digest>();
    for await (const digest of inTurns(digests)) {
      if (!(await this.#store.isOffered(repository, digest))) offers.add(digest);
    }
    if (offers.size > 0) await this.#store.putOffers(repository, [...offers]);
  }

  allowsAll(repository: Repository): boolean {
    return this.#rules.of(repository) === 'all';
  }

  isListed(repository: Repository): boolean {
    return this.#rules.of(repository) !== 'none';
  }

  /** The allowed ones of `tags`. */
  tags(repository: Repository, tags: readonly string[]): readonly string[] {
    if (this.#rules.of(repository) === 'all') return tags;
    return tags.filter((tag) => this.#rules.allowsTag(repository, tag));
  }
}

function denied(name: FullName, why = 'by the settings of this mirror'): PullError {
  return new PullError('denied', `${formatFullName(name)} may not be pulled here: ${why}`);
}
