import type { SharedBudgets } from '../oci/pull-budget.ts';
import type { Asked } from './answer-failure.ts';
import { isForeign } from './answer-headers.ts';
import type { Answer } from './answer.ts';
import { Authenticator, type Access, type Grant } from './auth.ts';
import type { Bandwidth } from './bandwidth.ts';
import { Breakers } from './breakers.ts';
import type { Budget, BudgetLimits, CountedRequest } from './budget.ts';
import { budgetReading } from './budget-reading.ts';
import { Budgets } from './budgets.ts';
import { mayHaveCredentials } from './credential-hosts.ts';
import type { Credentials } from './credentials.ts';
import { DialGuard, type Resolve } from './dial-guard.ts';
import { GuestTokens } from './guest-tokens.ts';
import { Logins, type PatternCredentials } from './logins.ts';
import { observedOutcome, type UpstreamObserver } from './observer.ts';
import { UpstreamFailure } from './outcome.ts';
import { registryAddress, type RegistryAddress } from './registry-address.ts';
import { sendFollowing } from './redirect.ts';
import { sendPatiently } from './retry.ts';
import { TimeLimit } from './time-limit.ts';
import { requestToken, type RequestToken, type TokenService } from './token-service.ts';
import { TokenCache, type Token } from './tokens.ts';
import { Transport, type TransportOptions, type TransportRequest } from './transport.ts';

export interface CourierOptions extends TransportOptions, UpstreamObserver {
  /** The name of the upstream in the settings, e.g. `docker.io`. */
  readonly host: string;
  /** Of the registry, without `/v2`: `https://registry-1.docker.io`. */
  readonly url: string;
  readonly credentials?: Credentials;
  /** Others, for the repositories that their patterns name; the first that fits counts. */
  readonly identities?: readonly PatternCredentials[];
  /** Hosts besides the registry's own that may get the credentials. */
  readonly credentialHosts?: readonly string[];
  /** Networks besides the registry's own that redirects and token services may lead to, in CIDR notation. */
  readonly networks?: readonly string[];
  /** How names become addresses. Default the system's way. */
  readonly resolve?: Resolve;
  /** For everything up to the headers of the final answer: tokens, redirects and retries are part of it. */
  readonly headersTimeoutMs: number;
  /** How fast bodies may come, all together; ends with this. */
  readonly bandwidth?: Bandwidth;
  /** When to save pulls. */
  readonly budget: BudgetLimits;
  /** Other servers that pull under the same identities. */
  readonly sharedBudgets?: SharedBudgets;
  /** The clock of tokens, breakers and budgets, ms since the epoch. Default the real one. */
  readonly now?: () => number;
}

export interface RegistryRequest {
  readonly kind: Asked['kind'];
  readonly method: Asked['method'];
  readonly repository: string;
  /** What follows the name of the repository, e.g. `/tags/list?n=100`. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** The registry may refuse an old token, and change its scheme in between. */
const MAX_TRIES = 3;

/** Carries requests to one registry and brings the final answers: logs in as it is asked to, and follows redirects. */
export class Courier {
  readonly registry: URL;
  readonly logins: Logins;
  readonly breakers: Breakers;
  readonly #budgets: Budgets;
  readonly #address: RegistryAddress;
  readonly #options: CourierOptions;
  readonly #transport: Transport;
  readonly #authenticator: Authenticator;
  readonly #guests: GuestTokens;
  readonly #now: () => number;

  /** Throws CertificateFileError. */
  constructor(options: CourierOptions) {
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
    this.#guests = new GuestTokens(common);
    this.breakers = new Breakers({
      registry: this.registry,
      ping,
      transport: this.#transport,
      headersTimeoutMs,
      onChange: (change) => options.onBreaker?.({ upstream: host, ...change }),
      now,
    });
    this.#budgets = new Budgets({
      host,
      ...options.budget,
      ...(options.sharedBudgets === undefined ? {} : { shared: options.sharedBudgets }),
      onChange: (event) => options.onBudget?.(event),
      now,
    });
  }

  /** The final answer, whatever its status. Throws UpstreamFailure or the caller's reason to stop. */
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

  /** Whether a token must be fetched before anything of `repository` can be; undefined: of some repository. */
  needsToken(repository: string | undefined): boolean {
    return this.#authenticator.needsToken(repository);
  }

  /** The pulls of whom a request like this is sent as. */
  budgetOf(access: Pick<Access, 'repository' | 'identity'>): Budget {
    return this.#budgets.of(this.logins.of(access.repository, access.identity).name);
  }

  /** Whether it is a registry that answers at its address, and not somebody in its place. */
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

  /** What to come back with; undefined if that would not help. Throws UpstreamFailure. */
  async #afterNo(answer: Answer, access: Access, grant: Grant): Promise<Grant | undefined> {
    if (answer.url.origin === this.registry.origin) return this.#authenticator.next(access, grant, answer);
    return this.#guests.learn(answer, access) ? grant : undefined;
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
      const elsewhere = (other: URL) => this.#guests.authorization(other, access);
      const onFirst = (answer: Answer): void => {
        this.#options.onHeaders?.(kind, answer.headers);
        const reading = budgetReading(answer.headers);
        // An error without a word of a limit says nothing of it.
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
    if (method === 'GET') this.#budgets.spend(name);
    return this.#budgets.of(name).began(method, access.repository);
  }

  /** For everybody who waits for that token, so within its own limit rather than that of any of them. */
  async #requestToken(service: TokenService, request: Parameters<RequestToken>[1]): Promise<Token> {
    const { host, headersTimeoutMs } = this.#options;
    const limit = new TimeLimit({ ms: headersTimeoutMs });
    const nowMs = this.#now();
    const outcome = await observedOutcome(
      this.#options,
      { host, kind: 'token', method: 'GET' },
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
