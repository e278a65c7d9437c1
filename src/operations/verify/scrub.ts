import type { Tell } from '../../events/events.ts';
import type { Clock } from '../../lib/clock.ts';
import { unlessAborted } from '../../lib/promises.ts';
import type { Digest } from '../../oci/digest.ts';
import type { BlobAudit, BlobStore, Bookmark, Bookmarks } from '../../store/blobs.ts';
import type { Whereabouts, Finding } from '../protocol.ts';
import type { ContentRepair } from './repair.ts';

/**
 * So much is hashed a second, at most: a tenth of what a hard disk reads, a fiftieth of what a processor hashes. A
 * terabyte takes 18 hours of idle time, so that a pass comes to its end within the month where only nights are idle.
 */
const MAX_BYTES_PER_SECOND = 16 * 1024 * 1024;
/** How long it stays away once there was something to do. */
const BUSY_PAUSE_MS = 2000;
/** How long it stays away when the disk failed it. */
const FAILED_PAUSE_MS = 10 * 60 * 1000;
/** setTimeout takes 24 days at most, and clocks are set. */
const MAX_WAIT_MS = 60 * 60 * 1000;
const BOOKMARK = 'scrub';
const BOOKMARK_MS = 1000;

export interface ScrubberOptions {
  readonly audit: BlobAudit;
  readonly blobs: BlobStore;
  readonly repair: ContentRepair;
  readonly bookmarks: Bookmarks;
  /** A walk through everything begins so long after the one before; the first one begins at once. */
  readonly intervalMs: number;
  /** Whether nobody waits for the disk. */
  readonly isIdle: () => boolean;
  readonly clock: Clock;
  readonly tell: Tell<'scrubbed' | 'fault'>;
  readonly onFinding: (finding: Finding) => void;
}

/**
 * Hashes what is stored again and again, slowly, while there is nothing else to do: disks lose bits, and who finds
 * that out while upstream is reachable need not find out in an outage. What is wrong is removed at once, so that it
 * is never served, and fetched anew. It goes on where it was when the server is started again.
 */
export class Scrubber {
  readonly #options: ScrubberOptions;
  readonly #ending = new AbortController();
  readonly #ended: Promise<void>;
  #markedAt = -Infinity;

  constructor(options: ScrubberOptions) {
    this.#options = options;
    this.#ended = this.#run().catch((error: unknown) => {
      if (!this.#ending.signal.aborted) throw error;
    });
    this.#ended.catch((error: unknown) => options.tell('fault', { where: 'scrub', error }));
  }

  async close(): Promise<void> {
    this.#ending.abort();
    await this.#ended.catch(() => undefined);
  }

  async #run(): Promise<void> {
    // A server that was just started has clients that waited for it.
    await this.#wait(BUSY_PAUSE_MS);
    for (;;) {
      const pass = await this.#nextPass();
      try {
        await this.#walk(pass);
      } catch (error) {
        this.#ending.signal.throwIfAborted();
        this.#options.tell('fault', { where: 'scrub', error });
        await this.#wait(FAILED_PAUSE_MS);
      }
    }
  }

  /** Resolves when a walk is due: the one that was broken off, or a new one. */
  async #nextPass(): Promise<Bookmark> {
    const { bookmarks, intervalMs, clock } = this.#options;
    const last = bookmarks.getBookmark(BOOKMARK);
    if (last !== undefined && !last.isDone) return last;
    // A clock that was set back must not put the next walk off for years.
    const dueAt = Math.min(last?.startedAt ?? -Infinity, clock.now()) + intervalMs;
    while (clock.now() < dueAt) await this.#wait(Math.min(dueAt - clock.now(), MAX_WAIT_MS));
    return { startedAt: clock.now(), isDone: false };
  }

  async #walk(pass: Bookmark): Promise<void> {
    const { audit } = this.#options;
    for await (const { digest, size } of audit.list({ after: pass.after })) {
      await this.#untilIdle();
      await this.#check(digest, size);
      await this.#mark({ ...pass, after: digest });
    }
    await this.#options.bookmarks.putBookmark(BOOKMARK, { startedAt: pass.startedAt, isDone: true });
  }

  async #check(digest: Digest, size: number): Promise<void> {
    const { audit, tell } = this.#options;
    const state = await audit.check(digest, {
      signal: this.#ending.signal,
      onBytes: async (bytes) => {
        tell('scrubbed', { bytes });
        await this.#wait((bytes / MAX_BYTES_PER_SECOND) * 1000);
        await this.#untilIdle();
      },
    });
    switch (state) {
      case 'sound':
      case 'adopted':
      case 'gone':
        return;
      case 'unreadable':
        // A disk that fails may read it the next time: what can still be served is not thrown away for that.
        return this.#found({ content: 'blob', digest, problem: state, size, outcome: 'found' });
      case 'corrupt':
      case 'short':
      case 'missing': {
        await this.#options.blobs.remove(digest);
        const { failure } = await unlessAborted(this.#options.repair.blob(digest), this.#ending.signal);
        const result =
          failure === undefined
            ? ({ outcome: 'repaired' } as const)
            : ({ outcome: 'removed', reason: failure } as const);
        return this.#found({ content: 'blob', digest, problem: state, size, ...result });
      }
    }
  }

  async #found(finding: Omit<Finding, keyof Whereabouts>): Promise<void> {
    this.#options.onFinding({ ...finding, ...(await this.#options.repair.whereabouts(finding.digest)) });
  }

  /** Small blobs are done by the thousand a second, and each mark is a write to the disk. */
  async #mark(bookmark: Bookmark): Promise<void> {
    const now = this.#options.clock.now();
    if (Math.abs(now - this.#markedAt) < BOOKMARK_MS) return;
    this.#markedAt = now;
    await this.#options.bookmarks.putBookmark(BOOKMARK, bookmark);
  }

  async #untilIdle(): Promise<void> {
    while (!this.#options.isIdle()) await this.#wait(BUSY_PAUSE_MS);
    this.#ending.signal.throwIfAborted();
  }

  #wait(ms: number): Promise<void> {
    return this.#options.clock.sleep(ms, this.#ending.signal);
  }
}
