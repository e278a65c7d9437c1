import type { AnswerHeaders } from './answer-headers.ts';
import { outcomeLabel, outcomeOf } from './outcome.ts';
import type { Outcome } from './upstream.ts';

/** One question to upstream, or one to its token service. */
export interface RequestEvent {
  /** The name of the upstream in the settings, e.g. `docker.io`. */
  readonly host: string;
  readonly kind: 'manifest' | 'blob' | 'token' | 'tags';
  readonly method: 'GET' | 'HEAD';
  /** `ok`, `not-found`, `refused`, `pull-limit`, `abuse-limit`, `aborted`, or why upstream is unavailable. */
  readonly outcome: string;
  /** Until the answer was there; without the body of a blob. */
  readonly durationMs: number;
}

/** Who wants to know what goes on with an upstream. Nothing secret is told, and no signed URL. */
export interface UpstreamObserver {
  readonly onRequest?: (event: RequestEvent) => void;
  /** The size of each piece of a manifest, a list of tags or a blob that arrives. */
  readonly onBytes?: (count: number) => void;
  /** The headers of each answer of the registry itself: they tell the state of its limits. */
  readonly onHeaders?: (kind: 'manifest' | 'blob' | 'tags', headers: AnswerHeaders) => void;
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
