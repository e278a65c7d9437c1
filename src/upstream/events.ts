import type { PullLimitState } from '../oci/pull-limit.ts';
import { type AnswerHeaders, outcomeLabel, outcomeOf, type Outcome } from './upstream.ts';

export type BreakerState = 'closed' | 'half-open' | 'open';

/** Whom a breaker stands before; `blobs` is whoever the registry redirects to. */
export type BreakerKind = 'registry' | 'tokens' | 'blobs';

export interface BreakerChange {
  readonly kind: BreakerKind;
  /** Host and port. */
  readonly host: string;
  readonly state: BreakerState;
  /** It has just been made, and is closed. */
  readonly isNew: boolean;
  /** Why it is open. */
  readonly reason?: string;
}

/** What happened to the budget of an identity at an upstream. */
export interface PullLimitEvent {
  /** The name of the upstream in the settings. */
  readonly host: string;
  readonly state: PullLimitState;
  /** Pulls under this identity since the last event that were not ours. */
  readonly foreignPulls: number;
}

/** One question to upstream, or one to its token service. */
export interface RequestEvent {
  /** The name of the upstream in the settings, e.g. `docker.io`. */
  readonly host: string;
  readonly kind: 'manifest' | 'blob' | 'token' | 'tags' | 'referrers';
  readonly method: 'GET' | 'HEAD';
  /**
   * `ok`, `not-found`, `refused`, `pull-limit`, `abuse-limit`, `aborted`, why upstream is unavailable, or `spared`: it
   * was not asked, because it is known to be out of reach or to limit us.
   */
  readonly outcome: string;
  /** Until the answer was there; without the body of a blob. */
  readonly durationMs: number;
}

/** A breaker is there, or has changed its state. */
export interface BreakerEvent extends BreakerChange {
  /** The name of the upstream in the settings. */
  readonly upstream: string;
}

/** Who wants to know what goes on with an upstream. Nothing secret is told, and no signed URL. */
export interface UpstreamObserver {
  readonly onRequest?: (event: RequestEvent) => void;
  /** The size of each piece of a manifest, a list of tags or a blob that arrives. */
  readonly onBytes?: (count: number) => void;
  /** The headers of each answer of the registry itself: they tell the state of its limits. */
  readonly onHeaders?: (kind: Exclude<RequestEvent['kind'], 'token'>, headers: AnswerHeaders) => void;
  readonly onBreaker?: (event: BreakerEvent) => void;
  readonly onPullLimit?: (event: PullLimitEvent) => void;
}

/** The outcome of `work`, which `observer` is told of as well. */
export async function observedOutcome<T>(
  observer: UpstreamObserver,
  event: Pick<RequestEvent, 'host' | 'kind' | 'method'>,
  work: Promise<T>,
): Promise<Outcome<T>> {
  const startedAt = performance.now();
  let outcome: Outcome<T> | undefined;
  try {
    outcome = await outcomeOf(work);
    return outcome;
  } finally {
    observer.onRequest?.({
      ...event,
      outcome: outcome === undefined ? 'aborted' : outcomeLabel(outcome),
      durationMs: performance.now() - startedAt,
    });
  }
}
