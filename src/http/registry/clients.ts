import { LRUCache } from 'lru-cache';
import type { Account, Accounts, Refusal } from '../../accounts/accounts.ts';
import { atMost } from '../../lib/caches.ts';
import { networkPrefix, type PrefixBits } from '../../lib/networks.ts';
import { parsePlatform, type Platform } from '../../oci/platform.ts';
import { networkMatcher } from '../server/addresses.ts';
import { hasClientCertificate } from '../server/tls.ts';
import { RequestError, type FailMode } from './errors.ts';
import type { Exchange } from './exchange.ts';

export interface RequestRate {
  /** So many requests in so long a time, all at once if need be. */
  readonly requests: number;
  readonly perMs: number;
  /** Clients whose addresses begin alike share them. */
  readonly prefixBits: PrefixBits;
}

/** Networks that are remembered. Who makes it forget others has used as many addresses, and a firewall's attention. */
const MAX_NETWORKS = 20_000;

interface Bucket {
  tokens: number;
  at: number;
}

/** A bucket of tokens per network, refilled at the rate. */
export class RequestRates {
  readonly #rate: RequestRate;
  readonly #now: () => number;
  readonly #buckets = new LRUCache<string, Bucket>(atMost(MAX_NETWORKS));

  constructor(rate: RequestRate, now: () => number = () => performance.now()) {
    this.#rate = rate;
    this.#now = now;
  }

  /** Takes a request of `address` in: undefined if it may be answered, else after how many seconds one may. */
  take(address: string): number | undefined {
    const { requests, perMs, prefixBits } = this.#rate;
    const now = this.#now();
    const network = networkPrefix(address, prefixBits);
    const bucket = this.#buckets.get(network) ?? { tokens: requests, at: now };
    bucket.tokens = Math.min(requests, bucket.tokens + ((now - bucket.at) * requests) / perMs);
    bucket.at = now;
    this.#buckets.set(network, bucket);
    if (bucket.tokens < 1) return Math.max(1, Math.ceil(((1 - bucket.tokens) * perMs) / requests / 1000));
    bucket.tokens -= 1;
    return undefined;
  }
}

/** Who is answered at an address. */
export interface AdmissionOptions {
  readonly isAllowed: (address: string) => boolean;
  /** The setting that says so, for messages. */
  readonly networksSetting: string;
  readonly needsClientCertificate: boolean;
  /** Undefined: as many requests as come. */
  readonly rates: RequestRates | undefined;
  /**
   * Whose credentials every request must carry. Undefined: nobody is asked for any, as at the address for mirrors,
   * where a challenge makes a Docker Engine send its Docker Hub password (moby, `registry/auth.go`).
   */
  readonly accounts: Pick<Accounts, 'authenticate'> | undefined;
}

/** Throws RequestError unless clients of this network are served here. */
export function checkNetwork({ isAllowed, networksSetting }: AdmissionOptions, { client }: Exchange): void {
  if (isAllowed(client)) return;
  throw new RequestError(403, 'DENIED', `clients from ${client} are not served (setting ${networksSetting})`);
}

/**
 * The account of who asks; undefined: there are no accounts. Throws RequestError, or rejects with it, if the request may
 * not be answered.
 */
export function admit(options: AdmissionOptions, exchange: Exchange): Promise<Account> | undefined {
  const { needsClientCertificate, rates, accounts } = options;
  const { client, request } = exchange;
  const waitSeconds = rates?.take(client);
  if (waitSeconds !== undefined) {
    const message = `too many requests from the network of ${client} (setting requestRate)`;
    throw new RequestError(429, 'TOOMANYREQUESTS', message, { 'Retry-After': String(waitSeconds) });
  }
  if (needsClientCertificate && !hasClientCertificate(request.socket)) {
    throw new RequestError(403, 'DENIED', 'a client certificate is needed here (setting tlsClientCa)');
  }
  return accounts === undefined ? undefined : authenticated(accounts, exchange);
}

async function authenticated(
  accounts: Pick<Accounts, 'authenticate'>,
  { client, request }: Exchange,
): Promise<Account> {
  const account = await accounts.authenticate(request.headers.authorization, client);
  if (typeof account === 'string') throw refusal(account);
  return account;
}

function refusal(why: Refusal): RequestError {
  // Basic alone: a Bearer challenge would send clients to a token service.
  const challenge = { 'WWW-Authenticate': 'Basic realm="pierhead"' };
  switch (why) {
    case 'missing':
      return new RequestError(401, 'UNAUTHORIZED', 'an account is needed here', challenge);
    case 'wrong':
      return new RequestError(401, 'UNAUTHORIZED', 'the user name, password or token is wrong', challenge);
    case 'busy':
      return new RequestError(503, 'UNAVAILABLE', 'too many passwords are being checked', {
        'Retry-After': '1',
      });
  }
}

/** What holds for the clients of a network; what is absent is as for everybody. */
export interface ClientRule {
  /** CIDR notation. */
  readonly network: string;
  readonly failMode?: FailMode;
  /** `os/architecture[/variant]`: what its clients run, whatever they say of themselves. */
  readonly platform?: string;
  /** `always`: lists are resolved for that platform for clients that take lists, too. */
  readonly resolve?: 'always' | 'negotiate';
}

export type FoundRule = Omit<ClientRule, 'network' | 'platform'> & { readonly platform?: Platform };

/** Finds the first rule whose network holds an address; undefined if none does. */
export function clientRuleFinder(rules: readonly ClientRule[]): (address: string) => FoundRule | undefined {
  const compiled = rules.map(({ network, platform: text, ...rule }) => {
    const platform = text === undefined ? undefined : parsePlatform(text);
    return {
      matches: networkMatcher([network]),
      rule: platform === undefined ? rule : { ...rule, platform },
    };
  });
  return function ruleFor(address) {
    return compiled.find(({ matches }) => matches(address))?.rule;
  };
}
