import { compileGlob } from '../lib/glob.ts';
import type { Credentials } from './credentials.ts';
import type { Identity } from './upstream.ts';

/** As whom a request is sent. */
export interface Login {
  /** For people and as a key; no secret: the user name, `anonymous`, or which token it is. */
  readonly name: string;
  readonly credentials: Credentials | undefined;
}

export interface PatternCredentials extends Credentials {
  /** Of whole repository names. */
  readonly pattern: string;
}

const ANONYMOUS: Login = { name: 'anonymous', credentials: undefined };

/** Chooses among the identities of one upstream: the first whose pattern names the repository, else the main one. */
export class Logins {
  readonly #main: Login;
  readonly #byPattern: readonly { readonly matches: (name: string) => boolean; readonly login: Login }[];

  constructor(main: Credentials | undefined, byPattern: readonly PatternCredentials[] = []) {
    this.#main = main === undefined ? ANONYMOUS : { name: nameOf(main, 'token'), credentials: main };
    this.#byPattern = byPattern.map((credentials) => ({
      matches: compileGlob(credentials.pattern),
      login: { name: nameOf(credentials, `token for ${credentials.pattern}`), credentials },
    }));
  }

  /** Whether there are any credentials at all. */
  get hasCredentials(): boolean {
    return this.#main.credentials !== undefined || this.#byPattern.length > 0;
  }

  of(repository: string, identity: Identity): Login {
    if (identity === 'anonymous') return ANONYMOUS;
    return this.#byPattern.find(({ matches }) => matches(repository))?.login ?? this.#main;
  }
}

function nameOf(credentials: Credentials, token: string): string {
  return credentials.username ?? token;
}
