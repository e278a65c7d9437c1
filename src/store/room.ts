import { BlobStoreError } from './blobs.ts';

/** There is no room, although all images that may be evicted are evicted. */
export class NoRoomError extends BlobStoreError {
  /** Bytes that must become free for the request to succeed. */
  readonly missingBytes: number;

  constructor(message: string, missingBytes: number) {
    super('no-space', message);
    this.missingBytes = missingBytes;
  }
}

/** Room on the disk for parts; DiskRoom defines which bytes count. */
export interface Room {
  /** Reserves `bytes` for a part; evicts the coldest images if needed. Throws NoRoomError. */
  reserve(bytes: number): Promise<Reservation>;
}

export interface Reservation {
  /** Changes the size, e.g. when a blob of unknown size grows. Throws NoRoomError; the old size stays reserved. */
  resize(bytes: number): Promise<void>;
  /** For a part that became a blob (which counts from then on) or was removed. Safe to call more than once. */
  release(): void;
}
