import type { Tell } from '../../events/events.ts';
import { systemClock, type Clock } from '../../lib/clock.ts';
import { deferred } from '../../lib/promises.ts';

export interface BandwidthOptions {
  /** The limit at `nowMs` (since the epoch), in bytes per second; undefined: no limit. */
  readonly limitAt: (nowMs: number) => number | undefined;
  readonly upstream: string;
  readonly tell: Tell<'throttled'>;
  readonly clock?: Clock;
}

/** Bytes that may pass at once after a pause, in seconds of the limit. */
const BURST_SECONDS = 0.25;
/** Longest time between two looks at the limit, which depends on the time of day. */
const MAX_SLEEP_MS = 1000;

interface Waiter {
  readonly bytes: number;
  readonly since: number;
  readonly resolve: () => void;
}

/**
 * A token bucket over all downloads from one upstream. Each download queues for one piece after the other, so all
 * progress equally fast. Bytes that no download reads fill its queue and slow its connection.
 */
export class Bandwidth {
  readonly #options: BandwidthOptions;
  readonly #clock: Clock;
  readonly #line: Waiter[] = [];
  readonly #closed = new AbortController();
  /** In bytes; below zero after more bytes passed than allowed. */
  #credit = 0;
  #countedAt: number;
  #isServing = false;

  constructor(options: BandwidthOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#countedAt = this.#clock.now();
  }

  /** Resolves when `bytes` may pass, or when `signal` is aborted. */
  async take(bytes: number, signal?: AbortSignal): Promise<void> {
    const since = this.#clock.now();
    if (this.#closed.signal.aborted || signal?.aborted === true) return;
    if (this.#options.limitAt(since) === undefined) return;
    const turn = deferred<void>();
    const waiter = { bytes, since, resolve: turn.resolve };
    const leave = (): void => {
      const at = this.#line.indexOf(waiter);
      if (at >= 0) this.#line.splice(at, 1);
      turn.resolve();
    };
    this.#line.push(waiter);
    signal?.addEventListener('abort', leave, { once: true });
    if (!this.#isServing) void this.#serve();
    await turn.promise;
    signal?.removeEventListener('abort', leave);
  }

  /** Counts bytes that did not queue; later pieces wait for them. Without a limit nothing is counted. */
  spend(bytes: number): void {
    if (this.#options.limitAt(this.#clock.now()) !== undefined) this.#credit -= bytes;
  }

  /** Releases all waiting pieces. */
  close(): void {
    this.#closed.abort();
  }

  async #serve(): Promise<void> {
    const { tell, upstream } = this.#options;
    this.#isServing = true;
    for (let next = this.#line[0]; next !== undefined; next = this.#line[0]) {
      const waitMs = this.#closed.signal.aborted ? 0 : this.#waitMs();
      if (waitMs > 0) {
        await this.#clock.sleep(waitMs, this.#closed.signal).catch(() => undefined);
        continue;
      }
      this.#line.shift();
      this.#credit -= next.bytes;
      tell('throttled', { upstream, ms: this.#clock.now() - next.since });
      next.resolve();
    }
    this.#isServing = false;
  }

  /** The wait until the next piece may pass, or until the limit is looked up again. */
  #waitMs(): number {
    const now = this.#clock.now();
    const limit = this.#options.limitAt(now);
    // A clock that is set back neither adds nor takes credit.
    const elapsedMs = Math.max(0, now - this.#countedAt);
    this.#countedAt = now;
    if (limit === undefined) {
      this.#credit = 0;
      return 0;
    }
    this.#credit = Math.min(this.#credit + (limit * elapsedMs) / 1000, limit * BURST_SECONDS);
    return this.#credit >= 0 ? 0 : Math.min(Math.ceil((-this.#credit / limit) * 1000), MAX_SLEEP_MS);
  }
}
