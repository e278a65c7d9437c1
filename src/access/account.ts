import { compileGlob } from '../lib/glob.ts';

/** What an account may pull, as the settings say it. */
export interface AccountRule {
  /** `*`: every account that no earlier rule names. */
  readonly name: string;
  /** Patterns of registry and repository: `docker.io/library/*`. */
  readonly allow: readonly string[];
}

/** Somebody who has shown who they are. */
export interface Account {
  readonly name: string;
  /** Whether it may see a repository, named with its registry: `docker.io/library/golang`. */
  readonly mayPull: (repository: string) => boolean;
}

/** Finds the account of a name. Without rules each may pull all; with some, one that none is for may pull nothing. */
export function accountFinder(rules: readonly AccountRule[]): (name: string) => Account {
  const compiled = rules.map(({ name, allow }) => ({ name, allow: allow.map(compileGlob) }));
  return function accountOf(name) {
    const rule = compiled.find((each) => each.name === '*' || each.name === name);
    const mayPull = (repository: string): boolean =>
      compiled.length === 0 || (rule?.allow ?? []).some((matches) => matches(repository));
    return { name, mayPull };
  };
}
