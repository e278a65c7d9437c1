import { setImmediate as turn } from 'node:timers/promises';
import { unlessAborted } from '../../lib/promises.ts';
import { digestMatches, type Digest } from '../../oci/digest.ts';
import type { BlobAudit, BlobStore } from '../../store/blobs.ts';
import type { ManifestAudit } from '../../store/manifests.ts';
import {
  type Whereabouts,
  OperationError,
  type OperationRun,
  type VerifyRequest,
  type Finding,
  type VerifyEvent,
  type VerifySummary,
} from '../protocol.ts';
import type { ContentRepair, Repair } from './repair.ts';

export interface VerificationOptions {
  readonly audit: BlobAudit;
  readonly manifests: ManifestAudit;
  readonly blobs: BlobStore;
  readonly repair: ContentRepair;
  /** Called for each problem, for logs and metrics. */
  readonly onFinding: (finding: Finding) => void;
}

/** Shortest time between two progress events. */
const PROGRESS_MS = 250;
/** Manifests that are hashed without a pause for requests. */
const MANIFESTS_AT_ONCE = 50;

/** Hashes all manifests and blobs, one after the other, while the server answers clients. */
export class Verification {
  readonly #options: VerificationOptions;
  #isRunning = false;

  constructor(options: VerificationOptions) {
    this.#options = options;
  }

  get isRunning(): boolean {
    return this.#isRunning;
  }

  /** Throws OperationError `busy` during another verification. */
  async run(request: VerifyRequest, run: OperationRun<VerifyEvent>): Promise<VerifySummary> {
    if (this.#isRunning) throw new OperationError('busy', 'another verification is running; try again later');
    this.#isRunning = true;
    try {
      return await new VerificationRun(this.#options, request, run).all();
    } finally {
      this.#isRunning = false;
    }
  }
}

class VerificationRun {
  readonly #options: VerificationOptions;
  readonly #isRepairing: boolean;
  readonly #run: OperationRun<VerifyEvent>;
  readonly #startedAt = performance.now();
  #toldAt = -Infinity;
  #blobs = 0;
  #manifests = 0;
  #bytes = 0;
  #problems = 0;
  #repaired = 0;
  #adopted = 0;

  constructor(options: VerificationOptions, request: VerifyRequest, run: OperationRun<VerifyEvent>) {
    this.#options = options;
    this.#isRepairing = request.repair;
    this.#run = run;
  }

  async all(): Promise<VerifySummary> {
    await this.#checkManifests();
    await this.#checkBlobs();
    this.#run.signal.throwIfAborted();
    this.#tellProgress('now');
    return {
      blobs: this.#blobs,
      manifests: this.#manifests,
      bytes: this.#bytes,
      problems: this.#problems,
      repaired: this.#repaired,
      adopted: this.#adopted,
      durationMs: Math.round(performance.now() - this.#startedAt),
    };
  }

  async #checkManifests(): Promise<void> {
    const { manifests } = this.#options;
    let after: Digest | undefined;
    for (;;) {
      this.#run.signal.throwIfAborted();
      const page = manifests.listManifests({ after, limit: MANIFESTS_AT_ONCE });
      for (const { digest, manifest } of page) {
        after = digest;
        this.#manifests++;
        this.#bytes += manifest?.bytes.length ?? 0;
        if (manifest !== undefined && digestMatches(digest, manifest.bytes)) continue;
        await this.#badManifest(digest);
      }
      if (page.length < MANIFESTS_AT_ONCE) return;
      this.#tellProgress();
      await turn();
    }
  }

  async #badManifest(digest: Digest): Promise<void> {
    const { manifests, repair } = this.#options;
    const found = { content: 'manifest', digest, problem: 'corrupt' } as const;
    if (this.#isRepairing) await manifests.deleteManifest(digest);
    await this.#found(found, () => repair.manifest(digest));
  }

  async #checkBlobs(): Promise<void> {
    const { audit, blobs } = this.#options;
    const { signal } = this.#run;
    for await (const { digest, size } of audit.list({})) {
      signal.throwIfAborted();
      const onBytes = (bytes: number): void => {
        this.#bytes += bytes;
        this.#tellProgress();
      };
      const state = await audit.check(digest, { signal, onBytes });
      if (state === 'gone') continue;
      this.#blobs++;
      if (state === 'adopted') this.#adopted++;
      if (state === 'sound' || state === 'adopted') continue;
      if (this.#isRepairing) await blobs.remove(digest);
      const found = { content: 'blob', digest, problem: state, size } as const;
      await this.#found(found, () => this.#options.repair.blob(digest));
    }
  }

  async #found(
    found: Omit<Finding, keyof Whereabouts | 'outcome'>,
    refetch: () => Promise<Repair>,
  ): Promise<void> {
    this.#problems++;
    const whereabouts = await this.#options.repair.whereabouts(found.digest);
    const finding = { ...found, ...whereabouts, ...(await this.#outcome(refetch)) };
    if (finding.outcome === 'repaired') this.#repaired++;
    this.#options.onFinding(finding);
    this.#run.onEvent({ kind: 'finding', finding });
  }

  async #outcome(refetch: () => Promise<Repair>): Promise<Pick<Finding, 'outcome' | 'reason'>> {
    if (!this.#isRepairing) return { outcome: 'found' };
    const { failure } = await unlessAborted(refetch(), this.#run.signal).catch((error: unknown): Repair => {
      if (!this.#run.signal.aborted) throw error;
      // The content was removed, so the finding must be reported.
      return { failure: 'interrupted before the new download ended' };
    });
    return failure === undefined ? { outcome: 'repaired' } : { outcome: 'removed', reason: failure };
  }

  #tellProgress(when: 'now' | 'sometimes' = 'sometimes'): void {
    const now = performance.now();
    if (when === 'sometimes' && now - this.#toldAt < PROGRESS_MS) return;
    this.#toldAt = now;
    const blobs = this.#options.blobs.totals();
    const manifests = this.#options.manifests.manifestTotals();
    const checked = this.#blobs + this.#manifests;
    this.#run.onEvent({
      kind: 'progress',
      checked,
      // Content that is pulled meanwhile may be checked or not; `checked` must not exceed `total`.
      total: Math.max(checked, blobs.blobs + manifests.manifests),
      checkedBytes: this.#bytes,
      totalBytes: Math.max(this.#bytes, blobs.bytes + manifests.bytes),
    });
  }
}
