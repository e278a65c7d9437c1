import type { Outcome, UnavailableCause } from './upstream.ts';

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
