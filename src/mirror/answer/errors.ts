import type { Repository } from '../../oci/reference.ts';
import { type Upstream, type Failure, failureReason } from '../../upstream/upstream.ts';

/**
 * Why something cannot be served.
 * - `repository-unknown`, `manifest-unknown`, `blob-unknown`: upstream says so, or refuses the repository.
 * - `platform-unknown`: the tag is there, but has nothing that this client can take.
 * - `denied`: the settings do not let anybody have it, wherever it is.
 * - `unavailable`: not cached, and upstream could not be asked, or did not answer as a registry should.
 */
export type PullErrorCode =
  'repository-unknown' | 'manifest-unknown' | 'blob-unknown' | 'platform-unknown' | 'denied' | 'unavailable';

/** `message` is for people at the other end: it names no secret and no inner address. */
export class PullError extends Error {
  override readonly name = 'PullError';
  readonly code: PullErrorCode;
  /** The absence was remembered and upstream not asked again. */
  readonly remembered: boolean;
  /** Upstream wants the absence not to be remembered, by nobody on the way: it may itself be a cache in an outage. */
  readonly noStore: boolean;
  /** Upstream's time was over. That says nothing to one who began to wait later. */
  readonly isLate: boolean;

  constructor(
    code: PullErrorCode,
    message: string,
    options: { cause?: unknown; remembered?: boolean; noStore?: boolean; isLate?: boolean } = {},
  ) {
    super(message, { cause: options.cause });
    this.code = code;
    this.remembered = options.remembered ?? false;
    this.noStore = options.noStore ?? false;
    this.isLate = options.isLate ?? false;
  }
}

/** Whether what failed did so because its time was over. */
export function isLate(error: unknown): boolean {
  return error instanceof PullError && error.isLate;
}

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
