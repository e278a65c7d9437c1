import type { Tell } from '../../events/events.ts';
import type { Digest } from '../../oci/digest.ts';
import { OCI_INDEX, UPSTREAM_ACCEPT } from '../../oci/media-types.ts';
import type { SharedPullLimits } from '../../oci/pull-limit.ts';
import { referenceText, type Reference } from '../../oci/reference.ts';
import { tagPageQuery, type TagPage } from '../../oci/tag-page.ts';
import { Authenticator, type Access, type Grant } from '../auth/auth.ts';
import { mayHaveCredentials } from '../auth/credential-hosts.ts';
import { type Credentials, Logins, type PatternCredentials } from '../auth/logins.ts';
import { RedirectTokens } from '../auth/redirect-tokens.ts';
import {
  requestToken,
  type RequestToken,
  type TokenService,
  TokenCache,
  type Token,
} from '../auth/tokens.ts';
import type { Answer } from '../connect/answer.ts';
import { DialGuard, type Resolve } from '../connect/dial-guard.ts';
import { isForeign } from '../connect/headers.ts';
import { sendFollowing } from '../connect/redirect.ts';
import { TimeLimit } from '../connect/time-limit.ts';
import { Transport, type TransportOptions, type TransportRequest } from '../connect/transport.ts';
import { Breakers } from '../health/breakers.ts';
import { sendPatiently } from '../health/retry.ts';
import type { Bandwidth } from '../limits/bandwidth.ts';
import {
  type PullLimit,
  type PullLimitSettings,
  type CountedRequest,
  pullLimitReading,
} from '../limits/pull-limit.ts';
import { PullLimits } from '../limits/pull-limits.ts';
import { UpstreamFailure, toldOutcome } from '../upstream.ts';
import type { Asked } from './failure.ts';

/** The address of a registry, and its names of repositories. */
export interface RegistryAddress {
  /** The URL of its breaker's probes (OCI distribution-spec, end-1). */
  readonly ping: URL;
  /** The name of a repository at the registry: Harbor puts the project of a proxy cache before it. */
  readonly nameOf: (repository: string) => string;
  /** A URL in a repository; `path` begins with a slash. */
  readonly urlOf: (repository: string, path: string) => URL;
}

/**
 * The address in a configured URL. A path goes before `/v2`, as for containerd. If it has its own `/v2`, the rest is
 * the beginning of every name (`https://harbor.example/v2/dockerhub`).
 */
export function registryAddress(url: URL): RegistryAddress {
  const path = url.pathname.replace(/\/+$/, '');
  const [, before = path, project = ''] = /^((?:\/[^/]+)*?)\/v2(?:\/(.+))?$/.exec(path) ?? [];
  const base = `${url.origin}${before}/v2/`;
  const nameOf = (repository: string): string => (project === '' ? repository : `${project}/${repository}`);
  return {
    ping: new URL(base),
    nameOf,
    urlOf: (repository, rest) => new URL(`${base}${nameOf(repository)}${rest}`),
  };
}

export interface UpstreamOptions extends TransportOptions {
  /** The upstream's name in the settings, such as `docker.io`. */
  readonly host: string;
  /** URL of the registry without `/v2`: `https://registry-1.docker.io`. */
  readonly url: string;
  readonly credentials?: Credentials;
  /** Credentials for the repositories that their patterns match; the first match counts. */
  readonly identities?: readonly PatternCredentials[];
  /** Hosts besides the registry's own that may get the credentials. */
  readonly credentialHosts?: readonly string[];
  /** Networks besides the registry's own that redirects and token services may lead to, in CIDR notation. */
  readonly networks?: readonly string[];
  /** Resolves names. Default: the system's resolver. */
  readonly resolve?: Resolve;
  /** Limit up to the headers of the final response, with tokens, redirects and retries. */
  readonly headersTimeoutMs: number;
  /** The bandwidth limit of all bodies; closed with the session. */
  readonly bandwidth?: Bandwidth;
  /** When to keep the last pulls for images that are not cached. */
  readonly pullLimit: PullLimitSettings;
  /** Shares readings with other servers that pull under the same identities. */
  readonly sharedPullLimits?: SharedPullLimits;
  readonly tell: Tell<'upstreamRequest' | 'upstreamBytes' | 'breaker' | 'pullLimit'>;
  /** The clock of tokens, breakers and pull limits, ms since the epoch. Default: `Date.now`. */
  readonly now?: () => number;
}

export interface RegistryRequest {
  readonly kind: Asked['kind'];
  readonly method: Asked['method'];
  readonly repository: string;
  /** The path after the name of the repository, such as `/tags/list?n=100`. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** The registry may refuse an old token, and then change its scheme. */
const MAX_TRIES = 3;

/** Sends requests to one registry and returns the final responses: authenticates as asked and follows redirects. */
export class Session {
  readonly registry: URL;
  readonly logins: Logins;
  readonly breakers: Breakers;
  readonly #pullLimits: PullLimits;
  readonly #address: RegistryAddress;
  readonly #options: UpstreamOptions;
  readonly #transport: Transport;
  readonly #authenticator: Authenticator;
  readonly #redirectTokens: RedirectTokens;
  readonly #now: () => number;

  /** Throws CertificateFileError. */
  constructor(options: UpstreamOptions) {
    const { url, credentials, identities, host, headersTimeoutMs, now = Date.now } = options;
    this.registry = new URL(url);
    this.#address = registryAddress(this.registry);
    const { nameOf, ping } = this.#address;
    this.logins = new Logins(credentials, identities);
    this.#options = options;
    this.#now = now;
    const guard = { registry: this.registry, networks: options.networks ?? [], resolve: options.resolve };
    this.#transport = new Transport(options, new DialGuard(guard));
    const tokens = new TokenCache(now);
    const ask: RequestToken = (service, request) => this.#requestToken(service, request);
    const common = { registry: this.registry, tokens, requestToken: ask };
    const { credentialHosts = [] } = options;
    const isTrusted = (other: URL): boolean => mayHaveCredentials(this.registry, other, credentialHosts);
    this.#authenticator = new Authenticator({ ...common, host, nameOf, logins: this.logins, isTrusted });
    this.#redirectTokens = new RedirectTokens(common);
    this.breakers = new Breakers({
      registry: this.registry,
      ping,
      transport: this.#transport,
      headersTimeoutMs,
      onChange: (change) => options.tell('breaker', { upstream: host, ...change }),
      now,
    });
    this.#pullLimits = new PullLimits({
      host,
      ...options.pullLimit,
      shared: options.sharedPullLimits,
      tell: options.tell,
      now,
    });
  }

  /** The final response, whatever its status. Throws UpstreamFailure or the caller's reason to stop. */
  async send(request: RegistryRequest, access: Access): Promise<Answer> {
    const { limit } = access;
    let grant = await limit.wait(this.#authenticator.first(access), this.registry.host);
    for (let tries = 1; ; tries++) {
      const answer = await this.#sendAs(request, access, grant.authorization);
      const isNo = answer.status === 401 || answer.status === 403;
      if (!isNo || tries === MAX_TRIES) return answer;
      const better = await this.#afterNo(answer, access, grant).catch(async (error: unknown) => {
        await answer.body.discard();
        throw error;
      });
      if (better === undefined) return answer;
      await answer.body.discard();
      grant = better;
    }
  }

  /** True if a request for `repository` (undefined: for any) needs a new token first. */
  needsToken(repository: string | undefined): boolean {
    return this.#authenticator.needsToken(repository);
  }

  /** The pull limit of the identity of such a request. */
  pullLimitOf(access: Pick<Access, 'repository' | 'identity'>): PullLimit {
    return this.#pullLimits.of(this.logins.of(access.repository, access.identity).name);
  }

  /** True if a registry answers at the address, and not a captive portal or proxy. */
  async isRegistry({ limit }: Pick<Access, 'limit'>): Promise<boolean> {
    const ping = { method: 'GET', url: this.#address.ping, headers: {}, limit } as const;
    const answer = await this.breakers.send(ping);
    await answer.body.discard();
    return answer.status < 500 && !isForeign(answer);
  }

  close(): Promise<void> {
    this.breakers.close();
    return this.#transport.close();
  }

  /** The grant to retry with; undefined: a retry would not help. Throws UpstreamFailure. */
  async #afterNo(answer: Answer, access: Access, grant: Grant): Promise<Grant | undefined> {
    if (answer.url.origin === this.registry.origin) return this.#authenticator.next(access, grant, answer);
    return this.#redirectTokens.learn(answer, access) ? grant : undefined;
  }

  async #sendAs(
    request: RegistryRequest,
    access: Access,
    authorization: string | undefined,
  ): Promise<Answer> {
    const { kind, method, repository, path, headers } = request;
    const url = this.#address.urlOf(repository, path);
    const own = authorization === undefined ? headers : { ...headers, authorization };
    const counted: CountedRequest[] = [];
    const count = (): void => {
      if (kind === 'manifest') counted.push(this.#counted(method, access));
    };
    const send = (hop: TransportRequest) => this.breakers.send(hop, count);
    count();
    try {
      const elsewhere = (other: URL) => this.#redirectTokens.authorization(other, access);
      const onFirst = (answer: Answer): void => {
        const reading = pullLimitReading(answer.headers);
        // An error without a pull limit says nothing about the limit.
        if (reading !== undefined || answer.status === 200) counted.at(-1)?.answered(reading);
      };
      return await sendFollowing(
        send,
        { method, url, headers: own, limit: access.limit },
        { onFirst, elsewhere },
      );
    } finally {
      for (const pull of counted) pull.over();
    }
  }

  #counted(method: 'GET' | 'HEAD', access: Access): CountedRequest {
    const { name } = this.logins.of(access.repository, access.identity);
    if (method === 'GET') this.#pullLimits.spend(name);
    return this.#pullLimits.of(name).began(method, access.repository);
  }

  /** The token is shared, so it has a time limit of its own instead of one caller's. */
  async #requestToken(service: TokenService, request: Parameters<RequestToken>[1]): Promise<Token> {
    const { host, headersTimeoutMs, tell } = this.#options;
    const limit = new TimeLimit({ ms: headersTimeoutMs });
    const nowMs = this.#now();
    const outcome = await toldOutcome(
      tell,
      { upstream: host, kind: 'token', method: 'GET' },
      this.breakers.tokens(service.realm).run({
        send: (answersOthers) => {
          const send = (hop: TransportRequest) => sendPatiently(this.#transport, hop, { answersOthers });
          return requestToken(send, service, { ...request, limit, nowMs });
        },
        resource: request.scope,
        hasTime: () => true,
      }),
    ).finally(() => limit.end());
    if (outcome.kind === 'ok') return outcome.value;
    throw new UpstreamFailure(outcome);
  }
}

export function manifestRequest(
  method: 'GET' | 'HEAD',
  repository: string,
  reference: Reference,
): RegistryRequest {
  const path = `/manifests/${referenceText(reference)}`;
  return { kind: 'manifest', method, repository, path, headers: { accept: UPSTREAM_ACCEPT } };
}

export function tagsRequest(repository: string, page: TagPage): RegistryRequest {
  const text = tagPageQuery(page).toString();
  const path = `/tags/list${text === '' ? '' : `?${text}`}`;
  return { kind: 'tags', method: 'GET', repository, path, headers: { accept: 'application/json' } };
}

export function blobRequest(
  method: 'GET' | 'HEAD',
  target: { readonly repository: string; readonly digest: Digest; readonly range?: string },
): RegistryRequest {
  const { repository, digest, range } = target;
  const headers = { accept: '*/*', ...(range === undefined ? {} : { range }) };
  return { kind: 'blob', method, repository, path: `/blobs/${digest}`, headers };
}

/** `query`: with its question mark, or empty. */
export function referrersRequest(repository: string, digest: Digest, query: string): RegistryRequest {
  const path = `/referrers/${digest}${query}`;
  return { kind: 'referrers', method: 'GET', repository, path, headers: { accept: `${OCI_INDEX}, */*` } };
}
