/** What is held back of an answer until the blob is verified, so that no client takes wrong bytes for a whole blob. */
export const HELD_BACK_BYTES = 64 * 1024;

/**
 * `broken`: what was sent so far is right, the rest is not to be had now.
 * `corrupt`: upstream's bytes are not what the digest names; what was sent must not be kept.
 */
export class BlobBodyError extends Error {
  override readonly name = 'BlobBodyError';
  readonly code: 'broken' | 'corrupt';

  constructor(code: 'broken' | 'corrupt', message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}
