import { compileGlob } from '../lib/glob.ts';
import { DOCKER_HUB, repositoryKey, type Repository } from '../oci/reference.ts';

/** How long a tag may be served unchecked, in ms; `never`: once it is known it is never checked. */
export type TtlMs = number | 'never';

export interface TagTtlsOptions {
  /** For `<repository>:<tag>`, the repository of another registry than docker.io with its host. The first that fits counts. */
  readonly rules: readonly { readonly pattern: string; readonly ttlMs: TtlMs }[];
  readonly otherwiseMs: TtlMs;
}

/** How long each tag may be served before upstream is asked whether it has moved. */
export class TagTtls {
  readonly #rules: readonly { readonly fits: (name: string) => boolean; readonly ttlMs: TtlMs }[];
  readonly #otherwiseMs: TtlMs;

  constructor(options: TagTtlsOptions) {
    this.#rules = options.rules.map(({ pattern, ttlMs }) => ({ fits: compileGlob(pattern), ttlMs }));
    this.#otherwiseMs = options.otherwiseMs;
  }

  of(repository: Repository, tag: string): TtlMs {
    if (this.#rules.length === 0) return this.#otherwiseMs;
    const name = `${repository.host === DOCKER_HUB ? repository.name : repositoryKey(repository)}:${tag}`;
    return this.#rules.find(({ fits }) => fits(name))?.ttlMs ?? this.#otherwiseMs;
  }
}
