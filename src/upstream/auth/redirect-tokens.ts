import { LRUCache } from 'lru-cache';
import type { Answer } from '../connect/answer.ts';
import { headerLines } from '../connect/headers.ts';
import type { Access } from './auth.ts';
import { parseChallenges } from './challenge.ts';
import {
  tokenServiceOf,
  type RequestToken,
  type TokenService,
  type HeldToken,
  type TokenCache,
} from './tokens.ts';

export interface RedirectTokensOptions {
  readonly registry: URL;
  readonly tokens: TokenCache;
  readonly requestToken: RequestToken;
}

interface Demand {
  readonly service: TokenService;
  readonly scope: string;
  /** The token that went out last. */
  sent?: HeldToken;
  /** The one that is no longer taken. */
  rejected?: string;
}

const MAX_DEMANDS = 1000;
const PULL_SCOPE = /^repository(?:\([a-z0-9]+\))?:[^: ]+:pull$/;

/**
 * Tokens for registries that another registry redirects to (lscr.io to ghcr.io, registry.k8s.io to whoever is near): each
 * of them challenges for itself, and may know the repository by another name. They are asked for anonymously, always:
 * the credentials in the settings belong to the registry that the settings name.
 */
export class RedirectTokens {
  readonly #options: RedirectTokensOptions;
  readonly #demands = new LRUCache<string, Demand>({ max: MAX_DEMANDS });

  constructor(options: RedirectTokensOptions) {
    this.#options = options;
  }

  /** Takes down what `answer`, of another server than the registry, asks for. False: nothing that could be had. */
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
    this.#demands.set(key, { service, scope, ...(rejected === undefined ? {} : { rejected }) });
    return true;
  }

  /** What to send to `url` for `repository`; undefined: nothing, as far as is known. Throws UpstreamFailure. */
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
