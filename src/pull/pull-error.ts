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
