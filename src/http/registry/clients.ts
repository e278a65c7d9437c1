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
  /** Requests per `perMs`. All of them may come at once. */
  readonly requests: number;
  readonly perMs: number;
  /** Clients with the same address prefix share one rate. */
  readonly prefixBits: PrefixBits;
}

/** Networks in memory. Pushing another network out takes as many addresses, which a firewall would notice. */
const MAX_NETWORKS = 20_000;

interface Bucket {
  tokens: number;
  at: number;
}

/** One token bucket per network, refilled at the rate. */
export class RequestRates {
  readonly #rate: RequestRate;
  readonly #now: () => number;
  readonly #buckets = new LRUCache<string, Bucket>(atMost(MAX_NETWORKS));

  constructor(rate: RequestRate, now: () => number = () => performance.now()) {
    this.#rate = rate;
    this.#now = now;
  }

  /** Counts a request of `address`. Returns undefined if it is allowed, else the seconds until one is. */
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

/** Which clients one listening address serves. */
export interface AdmissionOptions {
  readonly isAllowed: (address: string) => boolean;
  /** The setting behind `isAllowed`, for error messages. */
  readonly networksSetting: string;
  readonly needsClientCertificate: boolean;
  /** Undefined: no limit. */
  readonly rates: RequestRates | undefined;
  /**
   * Every request must carry the credentials of an account. Undefined: none are required, as on `listen`: a challenge
   * from a mirror makes a Docker Engine send its Docker Hub password (moby, `registry/auth.go`).
   */
  readonly accounts: Pick<Accounts, 'authenticate'> | undefined;
}

/** Throws RequestError unless the client's network is allowed. */
export function checkNetwork({ isAllowed, networksSetting }: AdmissionOptions, { client }: Exchange): void {
  if (isAllowed(client)) return;
  throw new RequestError(403, 'DENIED', `clients from ${client} are not served (setting ${networksSetting})`);
}

/**
 * Returns the client's account, or undefined without accounts. Throws RequestError, or rejects with it, if the request
 * must be refused.
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
    throw new RequestError(403, 'DENIED', 'a client certificate is needed (setting tlsClientCa)');
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
      return new RequestError(401, 'UNAUTHORIZED', 'an account is needed', challenge);
    case 'wrong':
      return new RequestError(401, 'UNAUTHORIZED', 'the user name, password or token is wrong', challenge);
    case 'busy':
      return new RequestError(503, 'UNAVAILABLE', 'too many passwords are being checked', {
        'Retry-After': '1',
      });
  }
}

/** Settings for the clients of a network. Absent members are as for all clients. */
export interface ClientRule {
  /** CIDR notation. */
  readonly network: string;
  readonly failMode?: FailMode;
  /** `os/architecture[/variant]` of its clients. Overrides their User-Agent. */
  readonly platform?: string;
  /** `always`: clients get the manifest for `platform` in place of an index, even if they accept an index. */
  readonly resolve?: 'always' | 'negotiate';
}

export type FoundRule = Omit<ClientRule, 'network' | 'platform'> & {
  readonly platform?: Platform | undefined;
};

/** Returns a function that finds the first rule whose network contains an address. */
export function clientRuleFinder(rules: readonly ClientRule[]): (address: string) => FoundRule | undefined {
  const compiled = rules.map(({ network, platform: text, ...rule }) => {
    const platform = text === undefined ? undefined : parsePlatform(text);
    return {
      matches: networkMatcher([network]),
      rule: { ...rule, platform },
    };
  });
  return function ruleFor(address) {
    return compiled.find(({ matches }) => matches(address))?.rule;
  };
}
