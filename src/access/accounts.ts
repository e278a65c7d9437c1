import { createHmac, randomBytes } from 'node:crypto';
import { WatchedFiles } from '../lib/watched-files.ts';
import { accountFinder, type Account, type AccountRule } from './account.ts';
import { BcryptThread } from './bcrypt-thread.ts';
import { parseCredentials, type Credentials } from './credentials.ts';
import { parseHtpasswd } from './htpasswd.ts';
import { PasswordChecks } from './password-checks.ts';
import { dearestCost, refusalWork } from './refusal-work.ts';
import { parseTokenFile } from './token-file.ts';

export interface AccountsOptions {
  /** Absolute paths; undefined: there are none of the kind. */
  readonly htpasswdFile: string | undefined;
  readonly tokensFile: string | undefined;
  readonly rules: readonly AccountRule[];
  /** Told when a file was read again, or cannot be: then what it said before holds. */
  readonly onReload: (what: string, error?: unknown) => void;
  /** Default a thread of its own. */
  readonly bcrypt?: Pick<BcryptThread, 'firstMatch' | 'close'>;
}

/** `missing`: no credentials came. `busy`: too many passwords are being checked. */
export type Refusal = 'missing' | 'wrong' | 'busy';

/** What an htpasswd file says. */
interface Passwords {
  /** By user name. */
  readonly hashes: ReadonlyMap<string, string>;
  /** The highest cost of a hash. */
  readonly dearest: number;
}

/** The accounts of the files that the settings name. */
export class Accounts {
  readonly #accountOf: (name: string) => Account;
  readonly #key = randomBytes(32);
  readonly #bcrypt: Pick<BcryptThread, 'firstMatch' | 'close'>;
  readonly #checks: PasswordChecks;
  readonly #passwords: WatchedFiles<Passwords>;
  readonly #tokens: WatchedFiles<ReadonlyMap<string, string>>;

  /** Throws FileError. */
  constructor({ htpasswdFile, tokensFile, rules, onReload, bcrypt = new BcryptThread() }: AccountsOptions) {
    this.#accountOf = accountFinder(rules);
    this.#bcrypt = bcrypt;
    this.#checks = new PasswordChecks((password, hashes) => bcrypt.firstMatch(password, hashes));
    const watch = <T>(path: string | undefined, what: string, parse: (text: string) => T) =>
      new WatchedFiles({
        paths: path === undefined ? [] : [path],
        parse: ([text = '']) => parse(text),
        onChange: () => onReload(what),
        onError: (error) => onReload(what, error),
      });
    this.#passwords = watch(htpasswdFile, 'htpasswdFile', (text) => {
      const hashes = parseHtpasswd(text);
      return { hashes, dearest: dearestCost(hashes.values()) };
    });
    this.#tokens = watch(tokensFile, 'tokensFile', (text) => this.#byDigest(parseTokenFile(text)));
  }

  /** Whose credentials an `Authorization` header holds. `client` is the address of who asks. */
  async authenticate(header: string | undefined, client: string): Promise<Account | Refusal> {
    const credentials = parseCredentials(header);
    if (credentials === undefined) return 'missing';
    const name = this.#tokens.value.get(this.#digest(credentials.secret));
    // Clients that know user names only send a token as the password of its account.
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

  /** Looked up by a keyed digest, how long it takes to find or miss a token tells nothing of it. */
  #digest(token: string): string {
    return createHmac('sha256', this.#key).update(token).digest('base64');
  }

  #byDigest(tokens: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
    return new Map([...tokens].map(([token, name]) => [this.#digest(token), name]));
  }
}
