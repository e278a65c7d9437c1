import type { AnswerHeaders } from './answer-headers.ts';
import type { BreakerChange } from './breakers.ts';
import type { BudgetEvent } from './budgets.ts';
import { outcomeLabel, outcomeOf } from './outcome.ts';
import type { Outcome } from './upstream.ts';

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

export type { BudgetEvent } from './budgets.ts';

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
  readonly onBudget?: (event: BudgetEvent) => void;
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
