/**
 * Locks between the servers of a fleet. They only save duplicate work, which is harmless: a lock may be lost at any
 * time, and a server works alone while Redis is unreachable.
 */
export interface FleetLock {
  /** `held`: by another server. `alone`: Redis is unreachable. Never rejects, and does not wait for the lock. */
  take(key: string): Promise<Lease | 'held' | 'alone'>;
  /** Like `take`, for a caller that has waited for the holder. */
  retake(key: string): Promise<Lease | 'held' | 'alone'>;
  /**
   * Resolves to the holder's message when it releases the lock; to undefined after `waitMs`, or as soon as Redis is
   * unreachable.
   */
  released(key: string, waitMs: number): Promise<string | undefined>;
}

/** A lock that this server holds. It expires soon after the server dies. */
export interface Lease {
  /** Releases the lock once all earlier puts of this server are in the shared store. */
  release(message: string): void;
}
