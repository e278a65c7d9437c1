import type { SegmentLimits } from '../../download/plan.ts';
import type { OpenBlob } from '../../download/source.ts';
import { deferred, type Deferred } from '../../lib/promises.ts';
import type { Digest } from '../../oci/digest.ts';
import type { BlobPart, KeptExtents } from '../../store/blobs.ts';

/** Something that transfers, or waits for its turn. */
export interface SlotUser {
  /** Whether a client waits for it. */
  readonly isRead: boolean;
  /** Asked of one that transfers although nobody reads it: to give its slot back soon, and queue again. */
  pause(): void;
}

/**
 * How many fills transfer at a time: those that somebody reads before the others, and in the order in which they came.
 * More at once would not be faster and would cost each its share; a queued one loses nothing but time.
 */
export class FillSlots {
  readonly #max: number;
  readonly #running = new Set<SlotUser>();
  readonly #pausing = new Set<SlotUser>();
  readonly #queue = new Map<SlotUser, Deferred<void>>();

  constructor(max: number) {
    this.#max = max;
  }

  get running(): number {
    return this.#running.size;
  }

  get queued(): number {
    return this.#queue.size;
  }

  /** Resolves when `user` may transfer, until it calls `leave`. */
  enter(user: SlotUser): Promise<void> {
    if (this.#running.size < this.#max) {
      this.#running.add(user);
      return Promise.resolve();
    }
    const turn = deferred<void>();
    this.#queue.set(user, turn);
    this.reconsider();
    return turn.promise;
  }

  /** To be called when `user` transfers no more, or wants to no more. */
  leave(user: SlotUser): void {
    this.#queue.delete(user);
    this.#pausing.delete(user);
    if (!this.#running.delete(user)) return;
    const next = [...this.#queue.keys()].find(({ isRead }) => isRead) ?? [...this.#queue.keys()][0];
    if (next === undefined) return;
    this.#running.add(next);
    this.#queue.get(next)?.resolve();
    this.#queue.delete(next);
  }

  /** To be called when a user has got its first reader or lost its last: those that transfer for nobody make way. */
  reconsider(): void {
    const waiting = [...this.#queue.keys()].filter(({ isRead }) => isRead).length;
    const idle = [...this.#running].filter((user) => !user.isRead && !this.#pausing.has(user));
    for (const user of idle.slice(0, Math.max(0, waiting - this.#pausing.size))) {
      this.#pausing.add(user);
      user.pause();
    }
  }
}

export type FillResult = 'stored' | 'corrupt' | 'broken' | 'disk' | 'abandoned';

/** How a fill ended; `error` unless it was stored. */
export interface FillEnd {
  readonly result: FillResult;
  /** Received from upstream and written. */
  readonly bytes: number;
  /** Taken over from an earlier attempt. */
  readonly resumedBytes: number;
  /** At how many places it received. */
  readonly segments: number;
  readonly error?: unknown;
}

export interface FillOptions {
  readonly digest: Digest;
  /** The registry that it comes from. */
  readonly host: string;
  /** What a manifest says of the size, in bytes. */
  readonly expectedSize: number | undefined;
  /** A served manifest names the blob, so somebody will come for it: the fill goes on without readers. */
  readonly isNamed: boolean;
  /** Whether the repository is known to hold the blob. If not, upstream has to say so even if nothing is missing. */
  readonly isLinked: boolean;
  readonly open: OpenBlob;
  /** What an earlier attempt left. */
  readonly kept: KeptExtents | undefined;
  readonly createPart: (expectedSize: number | undefined) => Promise<BlobPart>;
  readonly slots: FillSlots;
  readonly limits: SegmentLimits;
  /** Told whenever the last reader has gone, with the client that it was, and when there is one again. */
  readonly onUnread: (client: string) => void;
  readonly onRead: () => void;
}
