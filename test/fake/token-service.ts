import type { IncomingMessage } from 'node:http';
import { jsonAnswer, type Answer } from './answer.ts';
import type { Library } from './library.ts';
import type { LoggedRequest, RequestTarget } from './log.ts';
import type { Site } from './site.ts';
import type { RegistryWays } from './ways.ts';
import { basicUser, checkedUser, type Token, type TokenBook, type Users } from './tokens.ts';

export interface TokenServiceOptions {
  readonly library: Library;
  readonly tokens: TokenBook;
  readonly users: Users;
  /** The user of each identity token. */
  readonly identityTokens: Users;
  readonly ways: RegistryWays;
}

const SCOPE = /^repository:([^:]+):([a-z_,*]+)$/;
const FIELDS = ['token', 'access_token', 'expires_in', 'issued_at'];
const BAD_LOGIN = jsonAnswer(401, { details: 'incorrect username or password' });

/**
 * The token service: GET with Basic credentials (distribution, "Token Authentication Specification") and POST with
 * the password grant ("Docker Registry v2 authentication using OAuth2"), which containerd tries first when it has
 * credentials. A scope that the user has no right to is left out of the token and is no error, as on Docker Hub.
 */
export class TokenService implements Site {
  readonly host = 'token';
  readonly #options: TokenServiceOptions;

  constructor(options: TokenServiceOptions) {
    this.#options = options;
  }

  target(path: string, query: URLSearchParams): RequestTarget {
    if (path !== '/token') return { kind: 'other' };
    const repository = SCOPE.exec(query.get('scope') ?? '')?.[1];
    return { kind: 'token', ...(repository === undefined ? {} : { repository }) };
  }

  async answer(request: LoggedRequest, message: IncomingMessage): Promise<Answer> {
    if (request.kind !== 'token') return jsonAnswer(404, { details: 'not found' });
    if (request.method === 'POST') return this.#grant(request, new URLSearchParams(await textOf(message)));
    const user = basicUser(request.headers.authorization, this.#options.users);
    if (request.headers.authorization !== undefined && user === undefined) return BAD_LOGIN;
    return this.#issue(request, user, request.query.getAll('scope'));
  }

  #grant(request: LoggedRequest, form: URLSearchParams): Answer {
    if (form.get('grant_type') === 'refresh_token') {
      const owner = this.#options.identityTokens[form.get('refresh_token') ?? ''];
      return owner === undefined ? BAD_LOGIN : this.#issue(request, owner, form.getAll('scope'));
    }
    if (form.get('grant_type') !== 'password') return jsonAnswer(400, { error: 'unsupported_grant_type' });
    const name = form.get('username') ?? '';
    const user = checkedUser(name, form.get('password') ?? '', this.#options.users);
    if (user === undefined) return BAD_LOGIN;
    return this.#issue(request, user, form.getAll('scope'));
  }

  #issue(request: LoggedRequest, user: string | undefined, scopes: readonly string[]): Answer {
    request.identity = user ?? 'anonymous';
    const { library, ways } = this.#options;
    const asked = scopes.flatMap((scope) => scope.split(' ')).flatMap((scope) => granted(scope));
    const repositories = asked.filter((grant) => library.mayPull(grant.split(':')[0] ?? '', user));
    if (user === undefined && repositories.length === 0 && ways.anonymousRefusal !== undefined) {
      return jsonAnswer(ways.anonymousRefusal, { errors: [{ code: 'DENIED', message: 'access denied' }] });
    }
    return jsonAnswer(200, this.#document(this.#options.tokens.issue(user, new Set(repositories))));
  }

  #document(token: Token): Record<string, unknown> {
    const document: Record<string, unknown> = {
      token: token.value,
      access_token: token.value,
      expires_in: this.#options.tokens.lifetimeSeconds,
      issued_at: new Date(token.issuedAtMs).toISOString(),
    };
    const { tokenFields = FIELDS } = this.#options.ways;
    return Object.fromEntries(tokenFields.map((field) => [field, document[field]]));
  }
}

/** What a scope asks for: a repository, to pull from it, or one with a colon and another action. */
function granted(scope: string): string[] {
  const [, repository = '', actions = ''] = SCOPE.exec(scope) ?? [];
  return actions.split(',').flatMap((action) => {
    if (action === 'pull') return [repository];
    return action === 'metadata_read' ? [`${repository}:${action}`] : [];
  });
}

async function textOf(message: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of message) text += String(chunk);
  return text;
}
