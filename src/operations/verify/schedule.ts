import type { Tell } from '../../events/events.ts';
import type { Clock } from '../../lib/clock.ts';
import type { BlobAudit, BlobStore, Bookmarks } from '../../store/blobs.ts';
import type { ManifestAudit } from '../../store/manifests.ts';
import type { OperationRun, Finding, VerifyEvent, VerifyRequest, VerifySummary } from '../protocol.ts';
import type { ContentRepair } from './repair.ts';
import { Scrubber } from './scrub.ts';
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

export interface ScrubOptions {
  readonly intervalMs: number;
  /** Whether no client waits for anything; fills need not be counted. */
  readonly isIdle: () => boolean;
}

/** Whether what is stored still is what it was: looked after when somebody asks, and slowly all the time. */
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

  /** Throws OperationError `busy` while another one runs. */
  verify(request: VerifyRequest, run: OperationRun<VerifyEvent>): Promise<VerifySummary> {
    return this.#verification.run(request, run);
  }

  /** To be called once at most. */
  startScrub({ intervalMs, isIdle }: ScrubOptions): void {
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
