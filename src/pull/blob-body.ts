import type { ByteRange } from '../oci/range.ts';
import type { CacheStatus } from './cache-status.ts';

/** What is held back of an answer until the blob is verified, so that no client takes wrong bytes for a whole blob. */
export const HELD_BACK_BYTES = 64 * 1024;
/** A shorter piece of a blob is not held back: nobody takes it for the whole (the footer reads of lazy pullers). */
const HOLD_FROM_BYTES = 1024 * 1024;

/** The bytes of a blob for one client, wherever they come from. Nothing is verified unless the section says so. */
export interface BlobBody {
  /** Undefined while nobody has told: neither upstream nor a manifest. */
  readonly size: number | undefined;
  readonly cache: CacheStatus;
  /** All of it, where nothing has to be read or waited for; not to be written to. */
  readonly content?: Buffer | undefined;
  /** One section is read at a time; `range` undefined: the whole, of unknown size. */
  section(range: ByteRange | undefined): BlobSection;
  /** Ends a pending read and gives everything back. Safe to call more than once. */
  close(): void;
}

export interface BlobSection {
  /**
   * The next bytes, one chunk after the other: read into `buffer`, or such as others have, too, and that are not to be
   * written to. None at the end of the section; none is empty. Throws BlobBodyError when the rest
   * cannot be had.
   */
  read(buffer: Buffer): Promise<readonly Buffer[]>;
}

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

/** Whether the end of this section must wait for the verification. */
export function isHeldBack(range: ByteRange | undefined, size: number | undefined): boolean {
  if (range === undefined) return true;
  if (range.end !== size) return false;
  return range.start === 0 || range.end - range.start > HOLD_FROM_BYTES;
}
