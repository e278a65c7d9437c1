import type { Tell, UpstreamRequest } from '../events/events.ts';
import type { Digest } from '../oci/digest.ts';
import type { Descriptor } from '../oci/manifest.ts';
import type { Reference } from '../oci/reference.ts';
import type { TagPage } from '../oci/tag-page.ts';

/** Why the registry at `host` was of no help, as half a sentence. */
export function failureReason(failure: Failure, host: string): string {
  switch (failure.kind) {
    case 'not-found':
      return `${host} says that it does not exist`;
    case 'refused':
      return `${host} refuses it (${failure.status})`;
    case 'limited':
      return `${failure.scope === 'pulls' ? `the pull limit of ${host} is used up` : `${host} limits our requests`}${waitText(failure.retryAfterMs)}`;
    case 'unavailable':
      return failure.reason;
  }
}

export function waitText(ms: number | undefined): string {
  if (ms === undefined) return '';
  const minutes = Math.ceil(ms / 60_000);
  return minutes > 120 ? `, for ${Math.ceil(minutes / 60)} h at most` : `, for ${minutes} min at most`;
}

/** The headers of an answer; names in lower case, repeated lines as a list. */
export type AnswerHeaders = Readonly<Record<string, string | readonly string[] | undefined>>;

/** Why an upstream could not be asked or did not answer as a registry should. */
export type UnavailableCause =
  | 'offline' // the settings forbid asking
  | 'unreachable' // no connection: refused, DNS, TLS, proxy
  | 'timeout' // connected, but too slow
  | 'server-error' // 5xx
  | 'not-a-registry' // HTML, a captive portal, headers or bodies that break the protocol
  | 'credentials'; // the token service rejects the configured credentials

/**
 * All that can come of asking upstream. Every use handles each case (exhaustive switch). `spared`: upstream was not
 * asked, because it is known to be out of reach or to limit us.
 */
export type Outcome<T> =
  | { readonly kind: 'ok'; readonly value: T }
  /** 404. `noStore`: the answer said `Cache-Control: no-store`, so the absence must not be remembered. */
  | { readonly kind: 'not-found'; readonly noStore: boolean }
  /** 401 or 403 from the registry under a freshly issued token (or with none to be had anonymously). */
  | { readonly kind: 'refused'; readonly status: number }
  /** 429. `pulls`: the pull limit; `abuse`: any other. */
  | {
      readonly kind: 'limited';
      readonly scope: 'pulls' | 'abuse';
      readonly retryAfterMs?: number;
      readonly spared?: true;
    }
  | {
      readonly kind: 'unavailable';
      readonly cause: UnavailableCause;
      readonly reason: string;
      readonly spared?: true;
    };

/** As whom upstream is asked: with the configured credentials, if there are any, or always without. */
export type Identity = 'configured' | 'anonymous';

export interface AskOptions {
  readonly identity: Identity;
  /** Ends the request; the promise then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

export interface FetchedManifest {
  readonly mediaType: string;
  /** At most 4 MiB. Not verified against anything yet. */
  readonly bytes: Buffer;
  /** `Docker-Content-Digest`, if there was a valid one. */
  readonly digest?: Digest;
}

export interface BlobOptions extends AskOptions {
  /** From this byte on. */
  readonly offset: number;
  /** Up to and not including this one; undefined: to the end of the blob. */
  readonly end?: number;
  /** Of the whole blob as a manifest tells it, in bytes. */
  readonly expectedSize?: number;
}

export interface BlobStream {
  /** Of the whole blob, if upstream told (`Content-Length`, or the total of `Content-Range`). */
  readonly totalSize?: number;
  /** Where the body begins: the offset asked for, or 0 if upstream ignored the range. */
  readonly offset: number;
  /** The chunks are the caller's own. Throws `BodyBrokenError` when the body breaks off, stalls or is short. */
  readonly body: AsyncIterable<Buffer>;
  /** The body came encoded by somebody on the way, and is decoded: it can be had from the start only. */
  readonly isDecoded: boolean;
  /** Gives the connection up; safe to call at any time, more than once. */
  close(): void;
}

/** What refers to a manifest (OCI distribution-spec, "Listing Referrers"). */
export interface ReferrersList {
  /** An index, at most 4 MiB, as upstream sent it, or all of its pages made one. Nothing is filtered. */
  readonly bytes: Buffer;
}

export interface TagList {
  readonly tags: readonly string[];
  /** The next page, if upstream named one by `Link: …; rel="next"`. */
  readonly next?: TagPage;
}

/**
 * One upstream registry. Failures of the network and of upstream are outcomes, not exceptions; only an aborted
 * `signal` rejects. Methods resolve within the headers timeout; bodies of blobs end by the idle timeout.
 */
export interface Upstream {
  readonly host: string;
  /** True if user name and password or a token are configured. */
  readonly hasCredentials: boolean;
  /** HEAD; digest, media type and size of what `reference` names. `ok` with undefined: upstream's HEAD does not tell. */
  headManifest(
    repository: string,
    reference: Reference,
    options: AskOptions,
  ): Promise<Outcome<Descriptor | undefined>>;
  /** Whether it is there: by HEAD or, where that tells nothing, by GET, which is a pull. */
  confirmManifest(
    repository: string,
    reference: Reference,
    options: AskOptions,
  ): Promise<Outcome<{ readonly size?: number }>>;
  /** GET with every manifest media type accepted. */
  getManifest(
    repository: string,
    reference: Reference,
    options: AskOptions,
  ): Promise<Outcome<FetchedManifest>>;
  /** HEAD; `size` undefined when upstream does not tell it. */
  headBlob(
    repository: string,
    digest: Digest,
    options: AskOptions,
  ): Promise<Outcome<{ readonly size?: number }>>;
  /** GET, by Range unless it is of the whole. Each call asks the registry anew, so signed redirects are fresh. */
  getBlob(repository: string, digest: Digest, options: BlobOptions): Promise<Outcome<BlobStream>>;
  listTags(repository: string, page: TagPage, options: AskOptions): Promise<Outcome<TagList>>;
  listReferrers(repository: string, digest: Digest, options: AskOptions): Promise<Outcome<ReferrersList>>;
  /** Whether anything that was pulled could be pulled again now, as far as is known without asking. */
  isReachable(): boolean;
  /**
   * Why blobs (of `repository`, if one is named) cannot be had at the moment, as half a sentence for people; undefined:
   * nothing is known that speaks against it. Asks nobody.
   */
  outage(repository?: string): string | undefined;
  /**
   * Whether a caller has waited for seconds (for something of `repository`, if one is named) and no answer came
   * meanwhile. This is too little for an outage, and enough to serve what is cached without a wait. Asks nobody.
   */
  isSlow(repository?: string): boolean;
  /** Reports a wait that was too long and began at `since` (`performance.now()`), maybe for another server's answer. */
  reportSlow(since: number): void;
  /** Why manifests are to be got for real misses only, as half a sentence; undefined: there are pulls enough. */
  shortage(repository: string): string | undefined;
  /** What is left of the pull limit; undefined: upstream has told of none, or the repository does not count. */
  allowance(repository: string): Allowance | undefined;
  /** Whether what nobody waits for may be fetched now: there are pulls enough, and upstream is in reach. */
  mayPrefetch(repository: string): boolean;
  close(): Promise<void>;
}

/** The pull limit of whoever pulls, as upstream told it last. */
export interface Allowance {
  /** `anonymous`, a user name, or which token. */
  readonly identity: string;
  readonly limit: number;
  readonly remaining: number;
}

/** The body of a blob ended before its time; what came before is good as far as it goes. */
export class BodyBrokenError extends Error {
  override readonly name = 'BodyBrokenError';
  readonly code: 'cut' | 'stalled' | 'short';

  constructor(code: 'cut' | 'stalled' | 'short', message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}

export type Failure = Exclude<Outcome<never>, { kind: 'ok' }>;

/** A failure on its way from where it is found to where it becomes the outcome of a question. */
export class UpstreamFailure extends Error {
  override readonly name = 'UpstreamFailure';
  readonly code = 'upstream-failure';
  readonly failure: Failure;

  constructor(failure: Failure, cause?: unknown) {
    super(failure.kind === 'unavailable' ? failure.reason : failure.kind, { cause });
    this.failure = failure;
  }
}

/** Whether the time of a question was over; not if upstream was not even asked, because others had waited in vain. */
export function isTimeout(failure: Failure): boolean {
  return failure.kind === 'unavailable' && failure.cause === 'timeout' && failure.spared === undefined;
}

/** `reason` is for people: who did what, as half a sentence. */
export function unavailable(cause: UnavailableCause, reason: string, error?: unknown): UpstreamFailure {
  return new UpstreamFailure({ kind: 'unavailable', cause, reason }, error);
}

/** 429. `waitMs`: how long upstream asks to wait, if it does. */
export function limited(
  scope: 'pulls' | 'abuse',
  waitMs: number | undefined,
  error?: unknown,
): UpstreamFailure {
  const wait = waitMs === undefined ? {} : { retryAfterMs: waitMs };
  return new UpstreamFailure({ kind: 'limited', scope, ...wait }, error);
}

/** The outcome of `work`: what it resolves to, or the failure that it throws. Other errors stay errors. */
export async function outcomeOf<T>(work: Promise<T>): Promise<Outcome<T>> {
  try {
    return { kind: 'ok', value: await work };
  } catch (error) {
    if (error instanceof UpstreamFailure) return error.failure;
    throw error;
  }
}

/** One word for metrics: the kind of the outcome, why upstream is unavailable, or that it was not asked. */
export function outcomeLabel(outcome: Outcome<unknown>): string {
  if ('spared' in outcome) return 'spared';
  if (outcome.kind === 'unavailable') return outcome.cause;
  if (outcome.kind === 'limited') return outcome.scope === 'pulls' ? 'pull-limit' : 'abuse-limit';
  return outcome.kind;
}

/** The outcome of `work`, which is told of as well. */
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
