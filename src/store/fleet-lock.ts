/**
 * Locks between the servers of a fleet. They save work that would be done twice, and nothing is wrong if it is: a
 * lock may be lost at any time, and each server goes on by itself when the others cannot be asked.
 */
export interface FleetLock {
  /** `held`: by another server. `alone`: the others cannot be asked. Never rejects, and waits for nobody. */
  take(key: string): Promise<Lease | 'held' | 'alone'>;
  /** The same for one who has waited for the holder, and so not for the lock itself. */
  retake(key: string): Promise<Lease | 'held' | 'alone'>;
  /**
   * Resolves when the holder lets go, to what it says of how it went. Resolves to undefined after `waitMs` ms, or
   * as soon as the others cannot be heard any more.
   */
  released(key: string, waitMs: number): Promise<string | undefined>;
}

/** A lock that this server holds. It goes by itself, soon after the server does. */
export interface Lease {
  /** Lets go as soon as what this server has put into the shared store until now is there. */
  release(message: string): void;
}
