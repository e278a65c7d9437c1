/**
 * The last bytes of a response are held back until the blob is verified, so that no client keeps wrong bytes as a
 * whole blob.
 */
export const HELD_BACK_BYTES = 64 * 1024;

/**
 * `broken`: the bytes sent so far are right, the rest cannot be downloaded now. `corrupt`: the bytes do not match the
 * digest and must not be kept.
 */
export class BlobBodyError extends Error {
  override readonly name = 'BlobBodyError';
  readonly code: 'broken' | 'corrupt';

  constructor(code: 'broken' | 'corrupt', message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}
