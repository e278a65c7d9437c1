import { createHmac, randomBytes } from 'node:crypto';
import type { Tell } from '../events/events.ts';
import { messageOf } from '../lib/errors.ts';
import { WatchedFiles } from '../lib/files.ts';
import { compileGlob } from '../lib/glob.ts';
import { parseHtpasswd, parseTokenFile } from './files.ts';
import { BcryptThread, PasswordChecks, dearestCost, refusalWork } from './passwords.ts';

/** An item of the setting `accounts`. */
interface AccountRule {
  /** `*`: every account that no earlier rule names. */
  readonly name: string;
  /** Patterns of registry and repository: `docker.io/library/*`. */
  readonly allow: readonly string[];
}

/** The account of an authenticated client. */
export interface Account {
  readonly name: string;
  /** `repository` begins with its registry: `docker.io/library/golang`. */
  readonly mayPull: (repository: string) => boolean;
}

/** Without rules each account may pull all repositories. With rules, an account that no rule names may pull none. */
export function accountFinder(rules: readonly AccountRule[]): (name: string) => Account {
  const compiled = rules.map(({ name, allow }) => ({ name, allow: allow.map(compileGlob) }));
  return function accountOf(name) {
    const rule = compiled.find((each) => each.name === '*' || each.name === name);
    const mayPull = (repository: string): boolean =>
      compiled.length === 0 || (rule?.allow ?? []).some((matches) => matches(repository));
    return { name, mayPull };
  };
}

/** The content of an `Authorization` header. */
export type Credentials =
  | { readonly kind: 'basic'; readonly name: string; readonly secret: string }
  | { readonly kind: 'bearer'; readonly secret: string };

/** Reads `Basic` (RFC 7617) and `Bearer` (RFC 6750) credentials. Undefined if they are missing or have no user name. */
export function parseCredentials(header: string | undefined): Credentials | undefined {
  const [, scheme = '', value = ''] = /^(Basic|Bearer) +(\S+) *$/i.exec(header ?? '') ?? [];
  if (scheme.toLowerCase() === 'bearer') return { kind: 'bearer', secret: value };
  const text = Buffer.from(value, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  return colon < 1 ? undefined : { kind: 'basic', name: text.slice(0, colon), secret: text.slice(colon + 1) };
}

interface AccountsOptions {
  /** Absolute paths. Undefined: no accounts of this kind. */
  readonly htpasswdFile: string | undefined;
  readonly tokensFile: string | undefined;
  readonly rules: readonly AccountRule[];
  readonly tell: Tell<'fileRead'>;
  /** Default: a new thread. */
  readonly bcrypt?: Pick<BcryptThread, 'firstMatch' | 'close'> | undefined;
}

/** `missing`: the request has no credentials. `busy`: too many password checks wait. */
export type Refusal = 'missing' | 'wrong' | 'busy';

/** The content of an htpasswd file. */
interface Passwords {
  /** By user name. */
  readonly hashes: ReadonlyMap<string, string>;
  /** The highest cost of a hash. */
  readonly dearest: number;
}

/** The accounts of `htpasswdFile` and `tokensFile`. */
export class Accounts {
  readonly #accountOf: (name: string) => Account;
  readonly #key = randomBytes(32);
  readonly #bcrypt: Pick<BcryptThread, 'firstMatch' | 'close'>;
  readonly #checks: PasswordChecks;
  readonly #passwords: WatchedFiles<Passwords>;
  readonly #tokens: WatchedFiles<ReadonlyMap<string, string>>;

  /** Throws FileError. */
  constructor({ htpasswdFile, tokensFile, rules, tell, bcrypt = new BcryptThread() }: AccountsOptions) {
    this.#accountOf = accountFinder(rules);
    this.#bcrypt = bcrypt;
    this.#checks = new PasswordChecks((password, hashes) => bcrypt.firstMatch(password, hashes));
    const watch = <T>(path: string | undefined, what: string, parse: (text: string) => T) =>
      new WatchedFiles({
        paths: path === undefined ? [] : [path],
        parse: ([text = '']) => parse(text),
        onChange: () => tell('fileRead', { setting: what }),
        onError: (error) => tell('fileRead', { setting: what, reason: messageOf(error) }),
      });
    this.#passwords = watch(htpasswdFile, 'htpasswdFile', (text) => {
      const hashes = parseHtpasswd(text);
      return { hashes, dearest: dearestCost(hashes.values()) };
    });
    this.#tokens = watch(tokensFile, 'tokensFile', (text) => this.#byDigest(parseTokenFile(text)));
  }

  /** `client` is the address of the client. */
  async authenticate(header: string | undefined, client: string): Promise<Account | Refusal> {
    const credentials = parseCredentials(header);
    if (credentials === undefined) return 'missing';
    const name = this.#tokens.value.get(this.#digest(credentials.secret));
    // Clients without Bearer support send a token as the password of its account.
    const isToken = name !== undefined && (credentials.kind === 'bearer' || credentials.name === name);
    if (isToken) return this.#accountOf(name);
    if (credentials.kind === 'bearer' || this.#passwords.value.hashes.size === 0) return 'wrong';
    return this.#byPassword(credentials, client);
  }

  async close(): Promise<void> {
    this.#passwords.close();
    this.#tokens.close();
    await this.#bcrypt.close();
  }

  async #byPassword(
    { name, secret }: Extract<Credentials, { kind: 'basic' }>,
    client: string,
  ): Promise<Account | Refusal> {
    const { hashes: known, dearest } = this.#passwords.value;
    const hash = known.get(name);
    const hashes = refusalWork(hash, dearest);
    const verdict = await this.#checks.check({ name, password: secret, hashes, client });
    if (verdict !== 'right') return verdict;
    return hash === undefined ? 'wrong' : this.#accountOf(name);
  }

  /** The time of a lookup by a keyed digest reveals nothing about the token. */
  #digest(token: string): string {
    return createHmac('sha256', this.#key).update(token).digest('base64');
  }

  #byDigest(tokens: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
    return new Map([...tokens].map(([token, name]) => [this.#digest(token), name]));
  }
}
