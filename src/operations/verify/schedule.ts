import type { Tell } from '../../events/events.ts';
import type { Clock } from '../../lib/clock.ts';
import type { BlobAudit, BlobStore, Bookmarks } from '../../store/blobs.ts';
import type { ManifestAudit } from '../../store/manifests.ts';
import type { OperationRun, Finding, VerifyEvent, VerifyRequest, VerifySummary } from '../protocol.ts';
import type { ContentRepair } from './repair.ts';
import { Scrubber, type ScrubberOptions } from './scrub.ts';
import { Verification } from './verify.ts';

export interface ScrubScheduleOptions {
  readonly audit: BlobAudit;
  readonly manifests: ManifestAudit;
  readonly bookmarks: Bookmarks;
  readonly blobs: BlobStore;
  readonly repair: ContentRepair;
  readonly clock: Clock;
  readonly tell: Tell<'scrubbed' | 'badContent' | 'fault'>;
}

/** Verifies the cache: all of it by a command, and slowly in the background. */
export class ScrubSchedule {
  readonly #options: ScrubScheduleOptions;
  readonly #verification: Verification;
  #scrubber: Scrubber | undefined;

  constructor(options: ScrubScheduleOptions) {
    this.#options = options;
    this.#verification = new Verification({
      ...options,
      onFinding: (finding) => this.#found(finding, 'verify'),
    });
  }

  /** Throws OperationError `busy` during another verification. */
  verify(request: VerifyRequest, run: OperationRun<VerifyEvent>): Promise<VerifySummary> {
    return this.#verification.run(request, run);
  }

  /** Call once at most. `isIdle`: no client waits; it need not count downloads. */
  startScrub({ intervalMs, isIdle }: Pick<ScrubberOptions, 'intervalMs' | 'isIdle'>): void {
    const { repair } = this.#options;
    this.#scrubber = new Scrubber({
      ...this.#options,
      intervalMs,
      isIdle: () => isIdle() && repair.fillsRunning === 0 && !this.#verification.isRunning,
      onFinding: (finding) => this.#found(finding, 'scrub'),
    });
  }

  async close(): Promise<void> {
    await this.#scrubber?.close();
  }

  #found(finding: Finding, foundBy: 'verify' | 'scrub'): void {
    const { content, digest, problem, outcome, repositories, images, reason } = finding;
    this.#options.tell('badContent', {
      foundBy,
      content,
      digest,
      problem,
      outcome,
      repositories,
      images,
      reason,
    });
  }
}
