import type { Tell } from '../../events/events.ts';
import { systemClock, type Clock } from '../../lib/clock.ts';
import { deferred } from '../../lib/promises.ts';

export interface BandwidthOptions {
  /** What holds at `nowMs` (since the epoch), in bytes per second; undefined: no limit. */
  readonly limitAt: (nowMs: number) => number | undefined;
  readonly upstream: string;
  readonly tell: Tell<'throttled'>;
  readonly clock?: Clock;
}

/** What may come at once after a pause, as a share of what may come in a second. */
const BURST_SECONDS = 0.25;
/** The limit is looked up again after so long at the latest, since it depends on the time of day. */
const MAX_SLEEP_MS = 1000;

interface Waiter {
  readonly bytes: number;
  readonly since: number;
  readonly resolve: () => void;
}

/**
 * A token bucket over all transfers from one upstream. Each transfer asks for one piece after the other and waits in
 * line with it, so that all of them get on equally fast; what is not read fills their queues and holds their
 * connections back.
 */
export class Bandwidth {
  readonly #options: BandwidthOptions;
  readonly #clock: Clock;
  readonly #line: Waiter[] = [];
  readonly #closed = new AbortController();
  /** Below zero: so many bytes came that were not there to be given. */
  #credit = 0;
  #countedAt: number;
  #isServing = false;

  constructor(options: BandwidthOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#countedAt = this.#clock.now();
  }

  /** Resolves when `bytes` may pass, or when `signal` says that nobody waits for them any more. */
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

  /** What has come in all the same, and others pay for by waiting; while there is no limit, nobody owes anything. */
  spend(bytes: number): void {
    if (this.#options.limitAt(this.#clock.now()) !== undefined) this.#credit -= bytes;
  }

  /** Lets go whoever waits. */
  close(): void {
    this.#closed.abort();
  }

  async #serve(): Promise<void> {
    this.#isServing = true;
    for (let next = this.#line[0]; next !== undefined; next = this.#line[0]) {
      const waitMs = this.#closed.signal.aborted ? 0 : this.#waitMs();
      if (waitMs > 0) {
        await this.#clock.sleep(waitMs, this.#closed.signal).catch(() => undefined);
        continue;
      }
      this.#line.shift();
      this.#credit -= next.bytes;
      {
        const { tell, upstream } = this.#options;
        tell('throttled', { upstream, ms: this.#clock.now() - next.since });
      }
      next.resolve();
    }
    this.#isServing = false;
  }

  /** How long until the next piece may pass, or until that is to be asked again. */
  #waitMs(): number {
    const now = this.#clock.now();
    const limit = this.#options.limitAt(now);
    // A clock that was set back gives nothing, and takes nothing.
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
