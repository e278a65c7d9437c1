import { LRUCache } from 'lru-cache';
import { parseJson } from '../../lib/json.ts';
import { SingleFlight } from '../../lib/single-flight.ts';
import { redactUrl } from '../../lib/text.ts';
import { readWhole, type Answer } from '../connect/answer.ts';
import { isForeign, retryAfterMs } from '../connect/headers.ts';
import { sendFollowing, type Send } from '../connect/redirect.ts';
import type { TimeLimit } from '../connect/time-limit.ts';
import type { TransportRequest } from '../connect/transport.ts';
import { isTimeout, UpstreamFailure, limited, unavailable } from '../upstream.ts';
import type { Challenge } from './challenge.ts';
import type { Proof } from './logins.ts';

/** A bearer token. */
export interface Token {
  readonly value: string;
  /** Lifetime from now on. */
  readonly lifetimeMs: number;
}

/** A token from the cache, or a new one. */
export interface HeldToken {
  readonly value: string;
  readonly isFresh: boolean;
}

const MAX_TOKENS = 5000;
/** A token must still be valid when the request arrives. */
const USABLE_SHARE = 0.9;

interface Entry {
  readonly value: string;
  readonly usableUntil: number;
}

/** Tokens by key until shortly before they expire. Requests that need the same missing token share one fetch. */
export class TokenCache {
  readonly #now: () => number;
  readonly #entries = new LRUCache<string, Entry>({ max: MAX_TOKENS });
  readonly #flights = new SingleFlight<string>(isLate);

  /** `now`: ms since the epoch. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** The token for `key`. Calls `issue` if there is none, or if it is the one that the registry `rejected`. */
  async get(
    key: string,
    options: { readonly issue: () => Promise<Token>; readonly rejected?: string | undefined },
  ): Promise<HeldToken> {
    const { issue, rejected } = options;
    const entry = this.#entries.get(key);
    if (entry !== undefined && entry.value !== rejected && this.#now() < entry.usableUntil) {
      // A token issued since the rejected one is as good as a new one.
      return { value: entry.value, isFresh: rejected !== undefined };
    }
    const { promise } = this.#flights.run(key, () => this.#issue(key, issue));
    return { value: await promise, isFresh: true };
  }

  /** True if there is a usable token. */
  holds(key: string): boolean {
    const entry = this.#entries.peek(key);
    return entry !== undefined && this.#now() < entry.usableUntil;
  }

  async #issue(key: string, issue: () => Promise<Token>): Promise<string> {
    this.#entries.delete(key);
    const { value, lifetimeMs } = await issue();
    this.#entries.set(key, { value, usableUntil: this.#now() + lifetimeMs * USABLE_SHARE });
    return value;
  }
}

function isLate(error: unknown): boolean {
  return error instanceof UpstreamFailure && isTimeout(error.failure);
}

/** The token service that a Bearer challenge names. */
export interface TokenService {
  readonly realm: URL;
  readonly service: string | undefined;
}

export interface TokenRequest extends Proof {
  /** `repository:library/golang:pull`. */
  readonly scope: string;
  readonly limit: TimeLimit;
  /** Now; ms since the epoch. */
  readonly nowMs: number;
}

/** Fetches a token. The time limit is not the caller's. */
export type RequestToken = (
  service: TokenService,
  request: Pick<TokenRequest, 'scope' | 'authorization' | 'identityToken'>,
) => Promise<Token>;

/**
 * Names Pierhead to token services; the specification requires any name (distribution, "OAuth2 Token
 * Authentication").
 */
const CLIENT_ID = 'pierhead';
const MAX_ANSWER_BYTES = 64 * 1024;
/** Lifetime of a token without a stated one, and the minimum (distribution, "Token Authentication"). */
const MIN_LIFETIME_MS = 60_000;

/** The token service in a Bearer challenge of `registry`. Throws UpstreamFailure if it may not be asked. */
export function tokenServiceOf({ parameters }: Challenge, registry: URL): TokenService {
  const text = parameters.get('realm') ?? '';
  const realm = URL.canParse(text) ? new URL(text) : undefined;
  if (realm === undefined) {
    throw unavailable('not-a-registry', `${registry.host} names no valid URL of a token service`);
  }
  if (realm.protocol !== 'https:' && !(realm.protocol === 'http:' && registry.protocol === 'http:')) {
    const reason = `${registry.host} names the token service ${redactUrl(realm)}, which is not https`;
    throw unavailable('not-a-registry', reason);
  }
  return { realm, service: parameters.get('service') };
}

/**
 * Fetches a token: by GET (distribution, "Token Authentication Specification"), or by POST in exchange for an
 * identity token ("OAuth2 Token Authentication"). Throws UpstreamFailure.
 */
export async function requestToken(send: Send, service: TokenService, request: TokenRequest): Promise<Token> {
  const { authorization, identityToken, limit, nowMs } = request;
  const answer =
    identityToken === undefined
      ? await sendFollowing(send, byGet(service, request))
      : await send(byPost(service, request, identityToken));
  const who = `the token service at ${redactUrl(service.realm)}`;
  if (answer.status !== 200) {
    await answer.body.discard();
    throw refusal(answer, {
      who,
      hasCredentials: authorization !== undefined || identityToken !== undefined,
    });
  }
  const token = parseToken(await readWhole(answer, { maxBytes: MAX_ANSWER_BYTES, limit }), nowMs);
  if (token === undefined) throw unavailable('not-a-registry', `${who} does not answer with a token`);
  return token;
}

function byGet(service: TokenService, { scope, authorization, limit }: TokenRequest): TransportRequest {
  const url = new URL(service.realm);
  if (service.service !== undefined) url.searchParams.set('service', service.service);
  url.searchParams.append('scope', scope);
  const headers = { accept: 'application/json', ...(authorization === undefined ? {} : { authorization }) };
  return { method: 'GET', url, headers, limit };
}

/** Redirects are not followed: they would carry the identity token along. */
function byPost(
  service: TokenService,
  { scope, limit }: TokenRequest,
  identityToken: string,
): TransportRequest {
  const form = new URLSearchParams({
    grant_type: 'refresh_token',
    service: service.service ?? '',
    client_id: CLIENT_ID,
    scope,
    refresh_token: identityToken,
  });
  const headers = { accept: 'application/json', 'content-type': 'application/x-www-form-urlencoded' };
  return { method: 'POST', url: service.realm, headers, limit, body: form.toString() };
}

function refusal(
  answer: Answer,
  context: { readonly who: string; readonly hasCredentials: boolean },
): UpstreamFailure {
  const { status, headers } = answer;
  const { who, hasCredentials } = context;
  if (isForeign(answer)) return unavailable('not-a-registry', `${who} answered with a page of HTML`);
  // Artifactory answers 406 to requests without credentials (swarmpit/swarmpit#266).
  if ([400, 401, 403, 406].includes(status)) {
    return hasCredentials
      ? unavailable('credentials', `${who} rejects the configured credentials`)
      : new UpstreamFailure({ kind: 'refused', status });
  }
  if (status === 429) {
    return limited('abuse', retryAfterMs(headers));
  }
  return unavailable(status >= 500 ? 'server-error' : 'not-a-registry', `${who} answered ${status}`);
}

/** The token in a token service's response; undefined if there is none. */
function parseToken(body: Buffer, nowMs: number): Token | undefined {
  let document: unknown;
  try {
    document = parseJson(body);
  } catch {
    return undefined;
  }
  if (typeof document !== 'object' || document === null) return undefined;
  const fields: { readonly [key: string]: unknown } = { ...document };
  const value = [fields['token'], fields['access_token']].find(
    (field) => typeof field === 'string' && field !== '',
  );
  // Only characters that a header may hold; RFC 6750 allows fewer.
  if (typeof value !== 'string' || !/^[\x21-\x7e]+$/.test(value)) return undefined;
  return { value, lifetimeMs: lifetimeOf(fields, nowMs) };
}

/** `issued_at` counts only if it is plausible: clocks differ. A cached token may have aged. */
function lifetimeOf(fields: { readonly [key: string]: unknown }, nowMs: number): number {
  const expiresIn = fields['expires_in'];
  const issuedAt = fields['issued_at'];
  const seconds = typeof expiresIn === 'number' && Number.isFinite(expiresIn) ? expiresIn : 0;
  const totalMs = Math.max(seconds * 1000, MIN_LIFETIME_MS);
  const ageMs = typeof issuedAt === 'string' ? nowMs - Date.parse(issuedAt) : 0;
  return ageMs > 0 && ageMs < totalMs ? totalMs - ageMs : totalMs;
}
