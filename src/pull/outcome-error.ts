import type { Repository } from '../oci/reference.ts';
import type { Outcome, Upstream } from '../upstream/upstream.ts';
import { PullError, type PullErrorCode } from './pull-error.ts';

export type Failure = Exclude<Outcome<never>, { kind: 'ok' }>;

/**
 * Whether the failure says something about the content (it is not there) or only about upstream (ask later), as a
 * 404 does that is not to be remembered: a mirror in front of a mirror in an outage gets such.
 */
export function saysAbsent(failure: Failure): boolean {
  return failure.kind === 'refused' || (failure.kind === 'not-found' && !failure.noStore);
}

export interface Missing {
  readonly what: string;
  /** The registry that was asked. */
  readonly host: string;
  /** The code for its 404. */
  readonly absent: PullErrorCode;
}

/** The error for something that is not cached and could not be had. */
export function failureError(failure: Failure, { what, host, absent }: Missing): PullError {
  switch (failure.kind) {
    case 'not-found':
      return new PullError(absent, `${what} does not exist on ${host}`, { noStore: failure.noStore });
    case 'refused':
      return new PullError('repository-unknown', `${host} refuses ${what} (${failure.status})`);
    case 'limited':
    case 'unavailable':
      return new PullError('unavailable', `${what} is not cached, and ${failureReason(failure, host)}`, {
        isLate: saysLate(failure),
      });
  }
}

/** Whether the time of the question was over; not if upstream was not even asked, because others had waited in vain. */
export function saysLate(failure: Failure): boolean {
  return failure.kind === 'unavailable' && failure.cause === 'timeout' && failure.spared === undefined;
}

/** Throws PullError `unavailable` while upstream's pulls are to be saved for what is not in the cache at all. */
export function requirePulls(upstream: Upstream, repository: Repository): void {
  const shortage = upstream.shortage(repository.name);
  if (shortage !== undefined) throw new PullError('unavailable', shortage);
}

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

function waitText(ms: number | undefined): string {
  if (ms === undefined) return '';
  const minutes = Math.ceil(ms / 60_000);
  return minutes > 120 ? `, for ${Math.ceil(minutes / 60)} h at most` : `, for ${minutes} min at most`;
}
