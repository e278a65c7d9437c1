import type { Repository } from '../../oci/reference.ts';
import { type Upstream, type Failure, failureReason, isTimeout } from '../../upstream/upstream.ts';

/**
 * Why a pull fails.
 * - `repository-unknown`, `manifest-unknown`, `blob-unknown`: upstream answers "not found", or refuses the repository.
 * - `platform-unknown`: the tag exists, but has no manifest that this client accepts.
 * - `denied`: the settings forbid it.
 * - `unavailable`: not cached, and upstream is unreachable, limits pulls or sends an invalid response.
 */
export type PullErrorCode =
  'repository-unknown' | 'manifest-unknown' | 'blob-unknown' | 'platform-unknown' | 'denied' | 'unavailable';

/** Clients get `message`: it must not contain secrets or inner addresses. */
export class PullError extends Error {
  override readonly name = 'PullError';
  readonly code: PullErrorCode;
  /** True if "not found" was cached, and upstream was not asked again. */
  readonly remembered: boolean;
  /** True if upstream sent `no-store` with "not found": it may be a cache in an outage. No cache may keep it. */
  readonly noStore: boolean;
  /** True after a timeout of upstream. A request that began later should ask again. */
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

export function isLate(error: unknown): boolean {
  return error instanceof PullError && error.isLate;
}

/**
 * Whether upstream says that the content does not exist for us. A 404 with `no-store` means that upstream is in an
 * outage: a mirror behind a mirror gets such a 404.
 */
export function saysAbsent(failure: Failure): boolean {
  return failure.kind === 'refused' || (failure.kind === 'not-found' && !failure.noStore);
}

export interface Missing {
  readonly what: string;
  readonly host: string;
  /** The code for its 404. */
  readonly absent: PullErrorCode;
}

/** The error for content that is not cached and could not be fetched. */
export function failureError(failure: Failure, { what, host, absent }: Missing): PullError {
  switch (failure.kind) {
    case 'not-found':
      return new PullError(absent, `${what} does not exist on ${host}`, { noStore: failure.noStore });
    case 'refused':
      return new PullError('repository-unknown', `${host} refuses ${what} (${failure.status})`);
    case 'limited':
    case 'unavailable':
      return new PullError('unavailable', `${what} is not cached, and ${failureReason(failure, host)}`, {
        isLate: isTimeout(failure),
      });
  }
}

/** Throws PullError `unavailable` while the few pulls left are kept for images that are missing. */
export function requirePulls(upstream: Upstream, repository: Repository): void {
  const shortage = upstream.shortage(repository.name);
  if (shortage !== undefined) throw new PullError('unavailable', shortage);
}
