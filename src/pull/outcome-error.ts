import type { Outcome } from '../upstream/upstream.ts';
import { PullError, type PullErrorCode } from './pull-error.ts';

export type Failure = Exclude<Outcome<never>, { kind: 'ok' }>;

/** Whether the failure says something about the content (it is not there) or only about upstream (ask later). */
export function saysAbsent(failure: Failure): boolean {
  return failure.kind === 'not-found' || failure.kind === 'refused';
}

/** The error for something that is not cached and could not be had; `absent` is the code for upstream's 404. */
export function failureError(failure: Failure, what: string, absent: PullErrorCode): PullError {
  switch (failure.kind) {
    case 'not-found':
      return new PullError(absent, `${what} does not exist upstream`);
    case 'refused':
      return new PullError('repository-unknown', `upstream refuses ${what} (${failure.status})`);
    case 'limited':
    case 'unavailable':
      return new PullError('unavailable', `${what} is not cached, and ${failureReason(failure)}`);
  }
}

/** Why upstream was of no help, as half a sentence. */
export function failureReason(failure: Failure): string {
  switch (failure.kind) {
    case 'not-found':
      return 'upstream says that it does not exist';
    case 'refused':
      return `upstream refuses it (${failure.status})`;
    case 'limited':
      return failure.scope === 'pulls' ? "upstream's pull limit is used up" : 'upstream limits our requests';
    case 'unavailable':
      return failure.reason;
  }
}
