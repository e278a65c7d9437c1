import { LRUCache } from 'lru-cache';
import type { Answer } from '../connect/answer.ts';
import { headerLines } from '../connect/headers.ts';
import type { Access, AuthenticatorOptions } from './auth.ts';
import { parseChallenges } from './challenge.ts';
import { tokenServiceOf, type TokenService, type HeldToken } from './tokens.ts';

type RedirectTokensOptions = Pick<AuthenticatorOptions, 'registry' | 'tokens' | 'requestToken'>;

interface Demand {
  readonly service: TokenService;
  readonly scope: string;
  /** The token that was sent last. */
  sent?: HeldToken;
  /** The token that was refused. */
  readonly rejected: string | undefined;
}

const MAX_DEMANDS = 1000;
const PULL_SCOPE = /^repository(?:\([a-z0-9]+\))?:[^: ]+:pull$/;

/**
 * Tokens for registries that another registry redirects to (lscr.io to ghcr.io, registry.k8s.io to a near one). Each
 * challenges for itself, and may have another name for the repository. Tokens are always fetched anonymously:
 * configured credentials belong to the configured registry.
 */
export class RedirectTokens {
  readonly #options: RedirectTokensOptions;
  readonly #demands = new LRUCache<string, Demand>({ max: MAX_DEMANDS });

  constructor(options: RedirectTokensOptions) {
    this.#options = options;
  }

  /** Keeps the challenge in `answer`, sent by another server than the registry. False: no token would help. */
  learn(answer: Answer, { repository }: Access): boolean {
    const challenges = parseChallenges(headerLines(answer.headers, 'www-authenticate'));
    const bearer = challenges.find(({ scheme }) => scheme === 'bearer');
    if (answer.status !== 401 || bearer === undefined) return false;
    const asked = bearer.parameters.get('scope') ?? '';
    const service = tokenServiceOf(bearer, this.#options.registry);
    const scope = PULL_SCOPE.test(asked) ? asked : `repository:${repository}:pull`;
    const key = keyOf(answer.url, repository);
    const known = this.#demands.get(key);
    const isSame = known?.scope === scope && known.service.realm.href === service.realm.href;
    if (isSame && known.sent?.isFresh === true) return false;
    const rejected = isSame ? known.sent?.value : undefined;
    this.#demands.set(key, { service, scope, rejected });
    return true;
  }

  /** The `Authorization` for `repository` at `url`; undefined: no challenge is known. Throws UpstreamFailure. */
  async authorization(url: URL, { repository, limit }: Access): Promise<string | undefined> {
    const { tokens, requestToken } = this.#options;
    const demand = this.#demands.get(keyOf(url, repository));
    if (demand === undefined) return undefined;
    const { service, scope } = demand;
    const issue = () => requestToken(service, { scope });
    const key = `guest at ${service.realm.origin} ${scope}`;
    const token = tokens.get(key, { issue, rejected: demand.rejected });
    demand.sent = await limit.wait(token, service.realm.host);
    return `Bearer ${demand.sent.value}`;
  }
}

function keyOf({ origin }: URL, repository: string): string {
  return `${origin} ${repository}`;
}
