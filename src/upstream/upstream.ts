import type { Tell, UpstreamRequest } from '../events/events.ts';
import type { Digest } from '../oci/digest.ts';
import type { Descriptor } from '../oci/manifest.ts';
import type { Reference } from '../oci/reference.ts';
import type { TagPage } from '../oci/tag-page.ts';

/** Why the registry at `host` did not serve a request, as half a sentence. */
export function failureReason(failure: Failure, host: string): string {
  switch (failure.kind) {
    case 'not-found':
      return `it does not exist on ${host}`;
    case 'refused':
      return `${host} refuses access (${failure.status})`;
    case 'limited':
      return `${failure.scope === 'pulls' ? `the pull limit of ${host} is used up` : `${host} limits requests of this server`}${waitText(failure.retryAfterMs)}`;
    case 'unavailable':
      return failure.reason;
  }
}

function waitText(ms: number | undefined): string {
  if (ms === undefined) return '';
  const minutes = Math.ceil(ms / 60_000);
  return minutes > 120 ? `, for at most ${Math.ceil(minutes / 60)} h` : `, for at most ${minutes} min`;
}

/** Headers of a response: names in lower case, repeated lines as a list. */
export type AnswerHeaders = Readonly<Record<string, string | readonly string[] | undefined>>;

/** Why an upstream was not asked or gave no usable response. */
export type UnavailableCause =
  | 'offline' // the settings forbid asking
  | 'unreachable' // no connection: refused, DNS, TLS, proxy
  | 'timeout' // connected, but too slow
  | 'server-error' // 5xx
  | 'not-a-registry' // HTML, a captive portal, headers or bodies that break the protocol
  | 'credentials'; // the token service rejects the configured credentials

/**
 * The outcome of a request to an upstream. Every use handles each case (exhaustive switch). `spared`: the upstream
 * was not asked, because it is known to be unreachable or to limit this server.
 */
export type Outcome<T> =
  | { readonly kind: 'ok'; readonly value: T }
  /** 404. `noStore`: the answer said `Cache-Control: no-store`, so the absence must not be remembered. */
  | { readonly kind: 'not-found'; readonly noStore: boolean }
  /** 401 or 403 from the registry for a new token, or for an anonymous request that no token service serves. */
  | { readonly kind: 'refused'; readonly status: number }
  /** 429. `pulls`: the pull limit; `abuse`: any other. */
  | {
      readonly kind: 'limited';
      readonly scope: 'pulls' | 'abuse';
      readonly retryAfterMs?: number | undefined;
      readonly spared?: true;
    }
  | {
      readonly kind: 'unavailable';
      readonly cause: UnavailableCause;
      readonly reason: string;
      readonly spared?: true;
    };

/** The identity of a request: the configured credentials, if there are any, or always anonymous. */
export type Identity = 'configured' | 'anonymous';

export interface AskOptions {
  readonly identity: Identity;
  /** Ends the request; the promise then rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

export interface FetchedManifest {
  readonly mediaType: string;
  /** At most 4 MiB, not verified. */
  readonly bytes: Buffer;
  /** `Docker-Content-Digest`, if it is valid. */
  readonly digest?: Digest | undefined;
}

/** Size in bytes; undefined if the upstream does not state it. */
export interface ContentSize {
  readonly size?: number | undefined;
}

export interface BlobOptions extends AskOptions {
  /** First byte. */
  readonly offset: number;
  /** End, exclusive; undefined: to the end of the blob. */
  readonly end?: number | undefined;
  /** Size of the whole blob by a manifest, in bytes. */
  readonly expectedSize?: number | undefined;
}

export interface BlobStream {
  /** Size of the whole blob, if the upstream stated it (`Content-Length`, or the total of `Content-Range`). */
  readonly totalSize?: number | undefined;
  /** First byte of the body: the offset asked for, or 0 if the upstream ignored the range. */
  readonly offset: number;
  /** The caller may keep the chunks. Throws `BodyBrokenError` if the body breaks off, stalls or is short. */
  readonly body: AsyncIterable<Buffer>;
  /** A proxy encoded the body, and it is decoded here. Such a blob has no ranges. */
  readonly isDecoded: boolean;
  /** Closes the connection. Safe to call at any time, more than once. */
  close(): void;
}

/** The referrers of a manifest (OCI distribution-spec, "Listing Referrers"). */
export interface ReferrersList {
  /** An index of at most 4 MiB: as the upstream sent it, or all of its pages in one. Not filtered. */
  readonly bytes: Buffer;
}

export interface TagList {
  readonly tags: readonly string[];
  /** The next page, if the upstream named one by `Link: …; rel="next"`. */
  readonly next?: TagPage | undefined;
}

/**
 * One upstream registry. Failures of the network and of the upstream are outcomes, not exceptions; only an aborted
 * `signal` rejects. Methods resolve within `headersTimeout`; bodies of blobs end by `idleTimeout`.
 */
export interface Upstream {
  readonly host: string;
  /** True if credentials are configured. */
  readonly hasCredentials: boolean;
  /** HEAD; digest, media type and size of `reference`. `ok` with undefined: HEAD of this upstream says nothing. */
  headManifest(
    repository: string,
    reference: Reference,
    options: AskOptions,
  ): Promise<Outcome<Descriptor | undefined>>;
  /** Whether the manifest exists: by HEAD or, if that says nothing, by GET, which is a pull. */
  confirmManifest(
    repository: string,
    reference: Reference,
    options: AskOptions,
  ): Promise<Outcome<ContentSize>>;
  /** GET with every manifest media type accepted. */
  getManifest(
    repository: string,
    reference: Reference,
    options: AskOptions,
  ): Promise<Outcome<FetchedManifest>>;
  /** HEAD. */
  headBlob(repository: string, digest: Digest, options: AskOptions): Promise<Outcome<ContentSize>>;
  /** GET, by Range unless for the whole blob. Each call asks the registry again, so signed redirects are fresh. */
  getBlob(repository: string, digest: Digest, options: BlobOptions): Promise<Outcome<BlobStream>>;
  listTags(repository: string, page: TagPage, options: AskOptions): Promise<Outcome<TagList>>;
  listReferrers(repository: string, digest: Digest, options: AskOptions): Promise<Outcome<ReferrersList>>;
  /** False if the upstream is known to be unreachable or to limit this server. Sends nothing. */
  isReachable(): boolean;
  /**
   * Why blobs (of `repository`, if given) cannot be downloaded now, as half a sentence for people; undefined: no
   * known reason. Sends nothing.
   */
  outage(repository?: string): string | undefined;
  /**
   * True if a caller has waited for 2 s (for `repository`, if given) and no response has come since. Not an outage
   * yet, but reason enough to serve a cached copy without a wait. Sends nothing.
   */
  isSlow(repository?: string): boolean;
  /** Reports a wait since `since` (`performance.now()`) that was too long, perhaps for another server's response. */
  reportSlow(since: number): void;
  /** Why only manifests that are not cached may be pulled, as half a sentence; undefined: enough pulls are left. */
  shortage(repository: string): string | undefined;
  /** The pull limit and the pulls left; undefined: the upstream stated none, or the repository does not count. */
  allowance(repository: string): Allowance | undefined;
  /** True if prefetching is allowed now: enough pulls are left, and the upstream is reachable. */
  mayPrefetch(repository: string): boolean;
  close(): Promise<void>;
}

/** The pull limit of one identity, as the upstream stated it last. */
export interface Allowance {
  /** `anonymous`, a user name, or the name of a token. */
  readonly identity: string;
  readonly limit: number;
  readonly remaining: number;
}

/** The body of a blob ended early; the bytes before are good. */
export class BodyBrokenError extends Error {
  override readonly name = 'BodyBrokenError';
  readonly code: 'cut' | 'stalled' | 'short';

  constructor(code: 'cut' | 'stalled' | 'short', message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}

export type Failure = Exclude<Outcome<never>, { kind: 'ok' }>;

/** Carries a failure from its place to the outcome of the request. */
export class UpstreamFailure extends Error {
  override readonly name = 'UpstreamFailure';
  readonly code = 'upstream-failure';
  readonly failure: Failure;

  constructor(failure: Failure, cause?: unknown) {
    super(failure.kind === 'unavailable' ? failure.reason : failure.kind, { cause });
    this.failure = failure;
  }
}

/** True if a request timed out. False if the upstream was not asked, because others had waited in vain. */
export function isTimeout(failure: Failure): boolean {
  return failure.kind === 'unavailable' && failure.cause === 'timeout' && failure.spared === undefined;
}

/** `reason` is for people: half a sentence with the host as subject. */
export function unavailable(cause: UnavailableCause, reason: string, error?: unknown): UpstreamFailure {
  return new UpstreamFailure({ kind: 'unavailable', cause, reason }, error);
}

/** 429. `waitMs`: the wait that the upstream asks for, if any. */
export function limited(
  scope: 'pulls' | 'abuse',
  waitMs: number | undefined,
  error?: unknown,
): UpstreamFailure {
  return new UpstreamFailure({ kind: 'limited', scope, retryAfterMs: waitMs }, error);
}

/** The outcome of `work`: its value, or the failure that it throws. Other errors stay errors. */
export async function outcomeOf<T>(work: Promise<T>): Promise<Outcome<T>> {
  try {
    return { kind: 'ok', value: await work };
  } catch (error) {
    if (error instanceof UpstreamFailure) return error.failure;
    throw error;
  }
}

/** A label for metrics: the kind of the outcome, the cause of `unavailable`, or `spared`. */
function outcomeLabel(outcome: Outcome<unknown>): string {
  if ('spared' in outcome) return 'spared';
  if (outcome.kind === 'unavailable') return outcome.cause;
  if (outcome.kind === 'limited') return outcome.scope === 'pulls' ? 'pull-limit' : 'abuse-limit';
  return outcome.kind;
}

/** The outcome of `work`, reported by `tell` with its duration. */
export async function toldOutcome<T>(
  tell: Tell<'upstreamRequest'>,
  request: Pick<UpstreamRequest, 'upstream' | 'kind' | 'method'>,
  work: Promise<T>,
): Promise<Outcome<T>> {
  const startedAt = performance.now();
  let outcome: Outcome<T> | undefined;
  try {
    outcome = await outcomeOf(work);
    return outcome;
  } finally {
    tell('upstreamRequest', {
      ...request,
      outcome: outcome === undefined ? 'aborted' : outcomeLabel(outcome),
      durationMs: performance.now() - startedAt,
    });
  }
}
