import { BlobStoreError } from '../blob-store.ts';

/** There is no room, although all has gone that may go. */
export class NoRoomError extends BlobStoreError {
  /** What would have to be given back for it to fit. */
  readonly missingBytes: number;

  constructor(message: string, missingBytes: number) {
    super('no-space', message);
    this.missingBytes = missingBytes;
  }
}

/** Room on the disk for what is being written; see the implementation for what counts. */
export interface Room {
  /** Holds `bytes` for a part; evicts what is wanted least if that is needed. Throws NoRoomError. */
  reserve(bytes: number): Promise<Reservation>;
}

export interface Reservation {
  /** Changes what is held, e.g. when a blob of unknown size grows. Throws NoRoomError; what was held stays held. */
  resize(bytes: number): Promise<void>;
  /** Gives it back: the part became a blob (which counts from then on) or is gone. Safe to call more than once. */
  release(): void;
}
