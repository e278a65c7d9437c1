import { compileGlob } from '../lib/glob.ts';
import { DOCKER_HUB, registryPattern, type Repository } from '../oci/reference.ts';

/** Patterns `repository[:tag]` of one upstream. */
export interface PullPatterns {
  /** Undefined: everything may be pulled. */
  readonly allow?: readonly string[];
  /** What may not, even if `allow` names it. */
  readonly deny?: readonly string[];
}

/** How much of a repository may be pulled; with `some-tags` it depends on the tag. */
export type RepositoryRule = 'all' | 'some-tags' | 'none';

interface Pattern {
  readonly fitsRepository: (name: string) => boolean;
  /** Undefined: for the repository with all that it has. */
  readonly fitsTag: ((tag: string) => boolean) | undefined;
}

interface Compiled {
  readonly allow: readonly Pattern[] | undefined;
  readonly deny: readonly Pattern[];
}

const EVERYTHING: Compiled = { allow: undefined, deny: [] };

/** What the settings let clients pull, whoever they are. */
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
 * `*` alone is every repository; on docker.io `golang` is short for `library/golang`, as everywhere. The registry may
 * stand before it, as in the patterns of accounts: one that then fitted nothing would deny nothing.
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
