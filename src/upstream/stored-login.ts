/** What a credential helper or a `config.json` of Docker holds for a registry. */
export type StoredLogin =
  | { readonly kind: 'password'; readonly username: string; readonly password: string }
  /** A token that a token service gives others for (OAuth 2 `refresh_token`). */
  | { readonly kind: 'identity-token'; readonly token: string };

/** Where a login is to be had from, as often as it is needed. */
export interface LoginSource {
  /** For people: where that is. */
  readonly name: string;
  /** Throws UpstreamFailure, whose message shows nothing secret. */
  get(): Promise<StoredLogin>;
  /** What `get` gave last is no longer accepted. Returns whether another one may be had now. */
  rejected(): boolean;
}

/** By this user name helpers say that the secret is an identity token (docker/docker-credential-helpers). */
export const IDENTITY_USER = '<token>';

/** The login of a user name and a secret, or undefined if they are none that can be sent. */
export function storedLogin(username: unknown, secret: unknown): StoredLogin | undefined {
  if (typeof username !== 'string' || typeof secret !== 'string' || secret === '') return undefined;
  if (/\p{Cc}/u.test(username + secret)) return undefined;
  if (username === IDENTITY_USER) return { kind: 'identity-token', token: secret };
  return username === '' || username.includes(':')
    ? undefined
    : { kind: 'password', username, password: secret };
}

/** The name under which Docker keeps the login of a registry. */
export function dockerServer(host: string): string {
  return host === 'docker.io' ? 'https://index.docker.io/v1/' : host;
}
