import { randomBytes } from 'node:crypto';

export interface Token {
  readonly value: string;
  /** Undefined for an anonymous token. */
  readonly user: string | undefined;
  /** Repositories that it may pull from: those of the scopes asked for that the user has a right to. */
  readonly repositories: ReadonlySet<string>;
  readonly issuedAtMs: number;
  readonly expiresAtMs: number;
}

/** The bearer tokens in circulation. */
export class TokenBook {
  readonly #tokens = new Map<string, Token>();
  readonly #nowMs: () => number;
  lifetimeSeconds: number;

  constructor(options: { readonly nowMs: () => number; readonly lifetimeSeconds: number }) {
    this.#nowMs = options.nowMs;
    this.lifetimeSeconds = options.lifetimeSeconds;
  }

  issue(user: string | undefined, repositories: ReadonlySet<string>): Token {
    const issuedAtMs = this.#nowMs();
    const expiresAtMs = issuedAtMs + this.lifetimeSeconds * 1000;
    const token = {
      value: randomBytes(24).toString('base64url'),
      user,
      repositories,
      issuedAtMs,
      expiresAtMs,
    };
    this.#tokens.set(token.value, token);
    return token;
  }

  /** The token, unless it was never issued or has expired. */
  find(value: string): Token | undefined {
    const token = this.#tokens.get(value);
    return token !== undefined && this.#nowMs() < token.expiresAtMs ? token : undefined;
  }

  /** Every token issued so far stops being accepted. */
  expireAll(): void {
    this.#tokens.clear();
  }
}

/** The users of the stand-in and their passwords. */
export type Users = Readonly<Record<string, string>>;

/** The user of a Basic `Authorization` header; undefined if there is none or the password is wrong. */
export function basicUser(authorization: string | undefined, users: Users): string | undefined {
  const encoded = /^Basic ([A-Za-z0-9+/=]+)$/i.exec(authorization ?? '')?.[1];
  if (encoded === undefined) return undefined;
  const text = Buffer.from(encoded, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  const user = text.slice(0, Math.max(0, colon));
  return checkedUser(user, text.slice(colon + 1), users);
}

export function checkedUser(user: string, password: string, users: Users): string | undefined {
  return Object.hasOwn(users, user) && users[user] === password ? user : undefined;
}
