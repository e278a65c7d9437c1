import { errorAnswer, type Answer } from './answer.ts';
import type { Library } from './library.ts';
import type { LoggedRequest, RequestLog } from './log.ts';
import { HUB_CHALLENGE, listGrant, type RegistryWays } from './ways.ts';
import { basicUser, type TokenBook, type Users } from './tokens.ts';

export type AuthScheme = 'bearer' | 'basic' | 'none';

export interface GatekeeperOptions {
  readonly scheme: AuthScheme;
  readonly library: Library;
  readonly log: RequestLog;
  readonly tokens: TokenBook;
  readonly users: Users;
  /** The URL of the token service, without a query. */
  readonly realm: () => string;
  readonly ways: RegistryWays;
}

/** Decides who may pass, by RFC 6750 (Bearer) or RFC 7617 (Basic). */
export class Gatekeeper {
  readonly #options: GatekeeperOptions;

  constructor(options: GatekeeperOptions) {
    this.#options = options;
  }

  /** The answer for one who may not pass; undefined lets the request through and notes its identity. */
  refusal(request: LoggedRequest): Answer | undefined {
    if (this.#options.scheme === 'bearer') return this.#bearer(request);
    if (this.#options.scheme === 'basic') return this.#basic(request);
    request.identity = 'anonymous';
    return undefined;
  }

  #basic(request: LoggedRequest): Answer | undefined {
    const { library, users } = this.#options;
    const user = basicUser(request.headers.authorization, users);
    if (user === undefined) {
      return unauthorized(request, this.#options.ways.challenge?.('', request) ?? 'Basic realm="registry"');
    }
    request.identity = user;
    const { repository } = request;
    if (repository === undefined || library.find(repository) === undefined) return undefined;
    if (library.mayPull(repository, user)) return undefined;
    return errorAnswer(403, { code: 'DENIED', message: 'requested access to the resource is denied' });
  }

  #bearer(request: LoggedRequest): Answer | undefined {
    const { log, tokens } = this.#options;
    const { authorization } = request.headers;
    if (authorization !== undefined && !/^bearer /i.test(authorization)) {
      log.violations.push({ reason: 'a password sent to the registry, which asked for a token', request });
    }
    const value = /^Bearer (\S+)$/i.exec(authorization ?? '')?.[1];
    const token = value === undefined ? undefined : tokens.find(value);
    if (token === undefined) {
      return unauthorized(
        request,
        this.#challenge(request, value === undefined ? undefined : 'invalid_token'),
      );
    }
    const needed = listGrant(request, this.#options.ways);
    if (needed !== undefined && !token.repositories.has(needed)) {
      return unauthorized(request, this.#challenge(request, 'insufficient_scope'));
    }
    request.identity = token.user ?? 'anonymous';
    return undefined;
  }

  #challenge(request: LoggedRequest, error: string | undefined): string {
    const { realm, ways } = this.#options;
    const challenge = (ways.challenge ?? HUB_CHALLENGE)(realm(), request);
    return error === undefined ? challenge : `${challenge},error="${error}"`;
  }
}

function unauthorized(request: LoggedRequest, challenge: string): Answer {
  const error = { code: 'UNAUTHORIZED', message: 'authentication required' };
  const detail =
    request.repository === undefined
      ? undefined
      : [{ Type: 'repository', Class: '', Name: request.repository, Action: 'pull' }];
  return errorAnswer(401, error, { detail, headers: { 'www-authenticate': challenge } });
}
