import type { Tell } from '../../events/events.ts';
import type { Clock } from '../../lib/clock.ts';
import { unlessAborted } from '../../lib/promises.ts';
import type { Digest } from '../../oci/digest.ts';
import type { BlobAudit, BlobStore, Bookmark, Bookmarks } from '../../store/blobs.ts';
import type { Whereabouts, Finding } from '../protocol.ts';
import type { ContentRepair } from './repair.ts';

/**
 * A tenth of the speed of a hard disk, and a fiftieth of the hash speed of a processor. One terabyte takes 18 hours of idle
 * time, so a pass ends within a month even if only nights are idle.
 */
const MAX_BYTES_PER_SECOND = 16 * 1024 * 1024;
/** Pause after the server was busy. */
const BUSY_PAUSE_MS = 2000;
/** Pause after an error of the disk. */
const FAILED_PAUSE_MS = 10 * 60 * 1000;
/** setTimeout takes 24 days at most, and the system's clock may be set. */
const MAX_WAIT_MS = 60 * 60 * 1000;
const BOOKMARK = 'scrub';
const BOOKMARK_MS = 1000;

export interface ScrubberOptions {
  readonly audit: BlobAudit;
  readonly blobs: BlobStore;
  readonly repair: ContentRepair;
  readonly bookmarks: Bookmarks;
  /** Time from the start of a pass to the start of the next one. The first pass starts at once. */
  readonly intervalMs: number;
  /** Whether no request waits for the disk. */
  readonly isIdle: () => boolean;
  readonly clock: Clock;
  readonly tell: Tell<'scrubbed' | 'fault'>;
  readonly onFinding: (finding: Finding) => void;
}

/**
 * Hashes the cached blobs again and again while the server is idle. Disks lose bits, and a lost blob can be downloaded again
 * only while upstream is reachable. Removes a damaged blob at once, so that no client gets it, and downloads it again. A
 * restarted server continues the pass.
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
    // After a start, clients are waiting for the server.
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

  /** Resolves when a pass is due: an interrupted one, or a new one. */
  async #nextPass(): Promise<Bookmark> {
    const { bookmarks, intervalMs, clock } = this.#options;
    const last = bookmarks.getBookmark(BOOKMARK);
    if (last !== undefined && !last.isDone) return last;
    // A clock that was set back must not delay the next pass for years.
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
        // The next read may succeed, so the blob is not removed.
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

  /** Writes once per `BOOKMARK_MS`: thousands of small blobs are hashed in a second. */
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
