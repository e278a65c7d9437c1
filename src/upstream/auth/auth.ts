import type { Answer } from '../connect/answer.ts';
import { headerLines } from '../connect/headers.ts';
import type { TimeLimit } from '../connect/time-limit.ts';
import { unavailable, UpstreamFailure, type Identity } from '../upstream.ts';
import { parseChallenges } from './challenge.ts';
import { authorizationOf, isToken, proofOf, type Login, type Logins } from './logins.ts';
import {
  tokenServiceOf,
  type RequestToken,
  type TokenService,
  type Token,
  type TokenCache,
} from './tokens.ts';

/** The repository, the identity and the time limit of a request. */
export interface Access {
  readonly repository: string;
  readonly identity: Identity;
  readonly limit: TimeLimit;
}

/** The authorization of a request. */
export interface Grant {
  /** The scheme that it answers: `token` is a configured token, `none` is sent before a challenge. */
  readonly scheme: 'none' | 'basic' | 'bearer' | 'token';
  /** Undefined with `none`, and with `basic` without credentials. */
  readonly authorization: string | undefined;
  /** The scope of a fetched token. */
  readonly scope?: string;
  /** True if a refusal is final as long as the registry asks for this scheme. */
  readonly isFinal: boolean;
}

export interface AuthenticatorOptions {
  /** The upstream's name in the settings. */
  readonly host: string;
  readonly registry: URL;
  readonly logins: Logins;
  readonly tokens: TokenCache;
  readonly requestToken: RequestToken;
  /** The name of a repository at the registry. */
  readonly nameOf: (repository: string) => string;
  /** True if this token service may get the credentials. */
  readonly isTrusted: (realm: URL) => boolean;
}

const NOTHING: Grant = { scheme: 'none', authorization: undefined, isFinal: false };

/**
 * Answers the challenges of one registry. The scheme that a registry asked for once counts for all of its
 * repositories, so only the first request is sent in vain. Credentials go only to the registry and to the realm that
 * it names.
 */
export class Authenticator {
  readonly #options: AuthenticatorOptions;
  #asks: TokenService | 'basic' | undefined;

  constructor(options: AuthenticatorOptions) {
    this.#options = options;
  }

  /** The grant of a first request. Throws UpstreamFailure. */
  async first(access: Access): Promise<Grant> {
    const { credentials } = this.#loginFor(access);
    if (credentials !== undefined && isToken(credentials)) {
      return { scheme: 'token', authorization: await authorizationOf(credentials), isFinal: true };
    }
    if (this.#asks === undefined) return NOTHING;
    if (this.#asks === 'basic') return this.#basic(access);
    return this.#bearer(this.#asks, access, { scope: readScope(this.#options.nameOf(access.repository)) });
  }

  /**
   * The grant after the registry refused `previous` (401 or 403); undefined: no better one. Throws UpstreamFailure.
   */
  async next(access: Access, previous: Grant, answer: Answer): Promise<Grant | undefined> {
    const challenges = parseChallenges(headerLines(answer.headers, 'www-authenticate'));
    const bearer = challenges.find(({ scheme }) => scheme === 'bearer');
    if (bearer !== undefined) this.#asks = tokenServiceOf(bearer, this.#options.registry);
    else if (challenges.some(({ scheme }) => scheme === 'basic')) this.#asks = 'basic';
    if (this.#asks === undefined) return undefined;
    const scheme = this.#asks === 'basic' ? 'basic' : 'bearer';
    const scope = readScope(this.#options.nameOf(access.repository), bearer?.parameters.get('scope'));
    const isOther = previous.scheme === 'bearer' && previous.scope !== scope;
    if (previous.isFinal && !isOther && (previous.scheme === scheme || previous.scheme === 'token')) {
      const isAboutScope = challenges.some(
        ({ parameters }) => parameters.get('error') === 'insufficient_scope',
      );
      const isLogin = previous.scheme !== 'bearer' && previous.authorization !== undefined;
      if (answer.status !== 401 || isAboutScope || !isLogin) return undefined;
      if (this.#loginFor(access).credentials?.source?.rejected() === true) return this.#basic(access);
      throw unavailable('credentials', `${answer.url.host} rejects the configured credentials`);
    }
    if (this.#asks === 'basic') {
      const grant = await this.#basic(access);
      return grant.authorization === undefined ? undefined : grant;
    }
    return this.#bearer(this.#asks, access, {
      scope,
      rejected: isOther ? undefined : previous.authorization,
    });
  }

  /** True if a request for `repository` (undefined: for any) needs a new token first. */
  needsToken(repository: string | undefined): boolean {
    if (this.#asks === undefined || this.#asks === 'basic') return false;
    if (repository === undefined) return true;
    const login = this.#options.logins.of(repository, 'configured');
    if (login.credentials !== undefined && isToken(login.credentials)) return false;
    return !this.#options.tokens.holds(tokenKey(login, repository));
  }

  async #basic(access: Access): Promise<Grant> {
    const { credentials } = this.#loginFor(access);
    const authorization = credentials === undefined ? undefined : await authorizationOf(credentials);
    return { scheme: 'basic', authorization, isFinal: true };
  }

  async #bearer(
    service: TokenService,
    access: Access,
    details: { readonly scope: string; readonly rejected?: string | undefined },
  ): Promise<Grant> {
    const { repository, limit } = access;
    const { tokens, requestToken } = this.#options;
    const login = this.#loginFor(access);
    const { credentials } = login;
    this.#requireTrusted(service, login);
    const { scope } = details;
    const issueOnce = async (): Promise<Token> =>
      requestToken(service, { scope, ...(await proofOf(credentials)) });
    const issue = (): Promise<Token> =>
      issueOnce().catch((error: unknown) => {
        // The helper may have new credentials by now: those of clouds last for an hour or a few.
        if (!isRejection(error) || credentials?.source?.rejected() !== true) throw error;
        return issueOnce();
      });
    const rejected = details.rejected?.replace(/^Bearer /, '');
    const key = tokenKey(login, allowsPull(scope) ? repository : scope);
    const token = tokens.get(key, { issue, rejected });
    const { value, isFresh } = await limit.wait(token, service.realm.host);
    return { scheme: 'bearer', authorization: `Bearer ${value}`, scope, isFinal: isFresh };
  }

  /** The registry alone names its token service, and an attacker may have changed that name. */
  #requireTrusted({ realm }: TokenService, { credentials }: Login): void {
    const { host, registry, isTrusted } = this.#options;
    if (credentials === undefined || isTrusted(realm)) return;
    throw unavailable(
      'credentials',
      `${registry.host} names a token service at another host, ${realm.host}; to send it the credentials, add ${realm.hostname} to upstreams.${host}.credentialHosts`,
    );
  }

  #loginFor(access: Access): Login {
    return this.#options.logins.of(access.repository, access.identity);
  }
}

function isRejection(error: unknown): boolean {
  if (!(error instanceof UpstreamFailure)) return false;
  return error.failure.kind === 'unavailable' && error.failure.cause === 'credentials';
}

/** `what`: a repository for a pull token, or another scope. */
function tokenKey(login: Login, what: string): string {
  return `${login.credentials === undefined ? 'anonymous' : `as ${login.name}`} ${what}`;
}

/** Azure's registries list tags only for tokens that may read metadata (goharbor/harbor#16947). */
const READING: readonly string[] = ['pull', 'metadata_read'];

function allowsPull(scope: string): boolean {
  return scope.endsWith(':pull');
}

/** The challenge's own scope of this repository if it only reads; else the usual pull scope. */
function readScope(repository: string, scope?: string): string {
  const own = scope?.split(' ').find((part) => {
    const [type = '', name, action = ''] = part.split(':');
    return /^repository(?:\([a-z0-9]+\))?$/.test(type) && name === repository && READING.includes(action);
  });
  return own ?? `repository:${repository}:pull`;
}
