import { createHmac, randomBytes } from 'node:crypto';
import { WatchedFiles } from '../lib/watched-files.ts';
import { accountFinder, type Account, type AccountRule } from './account.ts';
import { BcryptThread } from './bcrypt-thread.ts';
import { parseCredentials, type Credentials } from './credentials.ts';
import { parseHtpasswd } from './htpasswd.ts';
import { PasswordChecks } from './password-checks.ts';
import { parseTokenFile } from './token-file.ts';

export interface AccountsOptions {
  /** Absolute paths; undefined: there are none of the kind. */
  readonly htpasswdFile: string | undefined;
  readonly tokensFile: string | undefined;
  readonly rules: readonly AccountRule[];
  /** Told when a file was read again, or cannot be: then what it said before holds. */
  readonly onReload: (what: string, error?: unknown) => void;
}

/** `missing`: no credentials came. `busy`: too many passwords are being checked. */
export type Refusal = 'missing' | 'wrong' | 'busy';

/** A hash of no password: names that do not exist take as long to refuse as those that do. */
const NOBODYS_SALT_AND_HASH = 'abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234';
const DEFAULT_COST = '10';

/** The accounts of the files that the settings name. */
export class Accounts {
  readonly #accountOf: (name: string) => Account;
  readonly #key = randomBytes(32);
  readonly #thread = new BcryptThread();
  readonly #checks = new PasswordChecks((password, hash) => this.#thread.matches(password, hash));
  readonly #hashes: WatchedFiles<ReadonlyMap<string, string>>;
  readonly #tokens: WatchedFiles<ReadonlyMap<string, string>>;

  /** Throws FileError. */
  constructor({ htpasswdFile, tokensFile, rules, onReload }: AccountsOptions) {
    this.#accountOf = accountFinder(rules);
    const watch = (path: string | undefined, what: string, parse: typeof parseHtpasswd) =>
      new WatchedFiles({
        paths: path === undefined ? [] : [path],
        parse: ([text = '']) => parse(text),
        onChange: () => onReload(what),
        onError: (error) => onReload(what, error),
      });
    this.#hashes = watch(htpasswdFile, 'htpasswdFile', parseHtpasswd);
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
    if (credentials.kind === 'bearer' || this.#hashes.value.size === 0) return 'wrong';
    return this.#byPassword(credentials, client);
  }

  async close(): Promise<void> {
    this.#hashes.close();
    this.#tokens.close();
    await this.#thread.close();
  }

  async #byPassword(
    { name, secret }: Extract<Credentials, { kind: 'basic' }>,
    client: string,
  ): Promise<Account | Refusal> {
    const hash = this.#hashes.value.get(name);
    const verdict = await this.#checks.check({ name, password: secret, hash: hash ?? this.#decoy(), client });
    if (verdict !== 'right') return verdict;
    return hash === undefined ? 'wrong' : this.#accountOf(name);
  }

  /** As slow as the hashes in the file. */
  #decoy(): string {
    const [first] = this.#hashes.value.values();
    return `$2b$${first?.slice(4, 6) ?? DEFAULT_COST}$${NOBODYS_SALT_AND_HASH}`;
  }

  /** Looked up by a keyed digest, how long it takes to find or miss a token tells nothing of it. */
  #digest(token: string): string {
    return createHmac('sha256', this.#key).update(token).digest('base64');
  }

  #byDigest(tokens: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
    return new Map([...tokens].map(([token, name]) => [this.#digest(token), name]));
  }
}
