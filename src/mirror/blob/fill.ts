import { Download } from '../../download/download.ts';
import { BlobBodyError } from '../../download/errors.ts';
import { PartFollower } from '../../download/part-follower.ts';
import { firstMissing, type Demand, type SegmentLimits } from '../../download/plan.ts';
import { DIVERTED, FillProgress } from '../../download/progress.ts';
import { FillUpstream, type OpenBlob } from '../../download/source.ts';
import type { FillEnded } from '../../events/events.ts';
import { runningTime, type RunningTimer } from '../../lib/clock.ts';
import { Extents } from '../../lib/extents.ts';
import { aborted, deferred } from '../../lib/promises.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Repository } from '../../oci/reference.ts';
import { type BlobPart, type BlobStore, BlobStoreError, type KeptExtents } from '../../store/blobs.ts';
import type { Link } from '../../store/manifests.ts';
import type { BlobStream } from '../../upstream/upstream.ts';
import type { BlobBody } from '../answer/answers.ts';
import { failureError, PullError } from '../answer/errors.ts';
import { FillReader, StartHashes, type FillSource } from './reader.ts';

export interface FillBlob {
  readonly repository: Repository;
  readonly digest: Digest;
  /** Undefined: upstream must confirm that the repository holds the blob, even if all bytes are kept. */
  readonly link: Link | undefined;
  readonly open: OpenBlob;
}

/** What the queue for slots uses of a fill. */
export type SlotUser = Pick<Fill, 'isRead' | 'pause'>;

/** What a fill uses of `Fills`. */
export interface FillRegistry {
  readonly blobs: Pick<BlobStore, 'keptPart' | 'createPart'>;
  readonly segmentLimits: SegmentLimits;
  /** Resolves when the fill has a slot. It may then receive until it leaves. */
  enter(fill: SlotUser): Promise<void>;
  leave(fill: SlotUser): void;
  /** The fill has its first reader. */
  read(fill: SlotUser): void;
  /** The last reader has left; `client` is its address. */
  unread(fill: Fill, client: string): void;
}

type FillResult = FillEnded['result'];

export interface FillEnd extends Pick<FillEnded, 'result' | 'bytes' | 'resumedBytes' | 'segments'> {
  /** Undefined if the blob was stored. */
  readonly error: unknown;
}

/** A fill without readers, of a blob that no served manifest names, ends after this time. */
const ABANDON_AFTER_MS = 10_000;

/** The parts of a fill once upstream has answered. */
interface Work {
  readonly part: BlobPart;
  readonly follower: PartFollower;
  readonly download: Download;
}

/**
 * One download of a blob from upstream, for all its clients. It writes a part file, at several places if readers start
 * far apart. Each reader follows the file from its own offset, independent of the others. Only bytes that match the
 * digest become a blob. If the fill ends early, the next one continues with its bytes.
 */
export class Fill implements FillSource {
  readonly #started = deferred<void>();
  readonly #ended = deferred<FillEnd>();
  /** Resolves once upstream has answered; rejects with PullError or BlobStoreError. */
  readonly started = this.#started.promise;
  /** Resolves at the end of the fill. Never rejects. */
  readonly ended = this.#ended.promise;
  readonly progress = new FillProgress();
  readonly starts = new StartHashes();
  readonly repository: Repository;
  readonly digest: Digest;
  readonly #link: Link | undefined;
  readonly #registry: FillRegistry;
  /** Bytes that an earlier attempt left. */
  readonly #kept: KeptExtents | undefined;
  readonly #upstream: FillUpstream;
  readonly #abort = new AbortController();
  readonly #readers = new Set<FillReader>();
  #work: Work | undefined;
  #isQueued = true;
  #isPaused = false;
  #isOver = false;
  #receivedBytes = 0;
  #abandonTimer: RunningTimer | undefined;

  constructor(blob: FillBlob, registry: FillRegistry) {
    const { repository, digest, link, open } = blob;
    this.repository = repository;
    this.digest = digest;
    this.#link = link;
    this.#registry = registry;
    this.#kept = registry.blobs.keptPart(digest);
    // Without a link, kept bytes may be from another repository: their size is secret until upstream confirms this one.
    this.progress.size = link === undefined ? undefined : (link.size ?? this.#kept?.size);
    this.#upstream = new FillUpstream({
      digest,
      progress: this.progress,
      open,
      onDecoded: () => this.#work?.download.goSequential(),
    });
  }

  /** Call this once. */
  start(): void {
    this.#run().then(this.#ended.resolve, this.#ended.reject);
  }

  get open(): OpenBlob {
    return this.#upstream.open;
  }

  get size(): number | undefined {
    return this.progress.size;
  }

  /** Whether the size, stated only by a manifest so far, differs from `size`. */
  contradicts(size: number | undefined): boolean {
    const isClaim = !this.#upstream.hasToldSize && this.size !== undefined;
    return isClaim && size !== undefined && size !== this.size;
  }

  get part(): BlobPart | undefined {
    return this.#work?.part;
  }

  /** Whether it has a reader. */
  get isRead(): boolean {
    return this.#readers.size > 0;
  }

  get isShared(): boolean {
    return this.#readers.size > 1;
  }

  /** True until it asks upstream for the first time. */
  get isQueued(): boolean {
    return this.#isQueued;
  }

  /** True if no client can join any more, even before its end. */
  get isOver(): boolean {
    return this.#isOver || this.progress.hasFailed || this.#abort.signal.aborted;
  }

  /**
   * A body that follows the fill, for `client`. It counts as a reader until it is closed. It may be read once the fill
   * has started, or at once if the size is known.
   */
  join(cache: 'stored' | 'collapsed', client: string): BlobBody {
    const reader = new FillReader({ source: this, cache, onClose: () => this.#leave(reader, client) });
    this.#readers.add(reader);
    this.#abandonTimer?.stop();
    if (this.#readers.size === 1) this.#registry.read(this);
    return reader;
  }

  /** Ends the fill, with or without readers. Its bytes are kept for the next fill. */
  abort(): void {
    this.#abort.abort(new PullError('unavailable', `the download of ${this.digest} was stopped`));
    this.#work?.download.stop();
    this.#work?.follower.stop();
  }

  /** Makes the fill leave its slot soon, and queue again. */
  pause(): void {
    this.#isPaused = true;
    this.#work?.download.stop();
  }

  want(demand: Demand): void {
    this.#work?.download.want(demand);
  }

  recent(position: number, maxBytes: number): readonly Buffer[] {
    return this.#work?.download.recent(position, maxBytes) ?? [];
  }

  async #run(): Promise<FillEnd> {
    try {
      await this.#takeTurns();
      await this.#verify();
      return this.#end('stored');
    } catch (error) {
      return await this.#failed(error);
    } finally {
      this.#isOver = true;
      this.#abandonTimer?.stop();
      this.#registry.leave(this);
      if (!this.isRead) await this.part?.close();
    }
  }

  async #takeTurns(): Promise<void> {
    const { signal } = this.#abort;
    do {
      this.#isPaused = false;
      // Without a size, headers cannot be sent early, so such a blob does not queue.
      if (this.size !== undefined) await Promise.race([this.#registry.enter(this), aborted(signal)]);
      signal.throwIfAborted();
      const first = this.#work === undefined ? await this.#start() : undefined;
      if (this.#isPaused || signal.aborted) first?.close();
      else await this.#work?.download.receive(first);
      this.#registry.leave(this);
      signal.throwIfAborted();
    } while (this.#isPaused);
  }

  /** Asks upstream, and makes the part. Returns upstream's response; undefined if no byte is missing. */
  async #start(): Promise<BlobStream | undefined> {
    this.#isQueued = false;
    const { digest, repository } = this;
    const missing = firstMissing(this.#kept, this.size);
    const isWhole = missing === undefined;
    const { signal } = this.#abort;
    const outcome =
      isWhole && this.#link !== undefined
        ? undefined
        : await this.#upstream.first(missing ?? { start: 0 }, signal);
    if (outcome !== undefined && outcome.kind !== 'ok')
      throw failureError(outcome, { what: digest, host: repository.host, absent: 'blob-unknown' });
    const stream = outcome?.value;
    try {
      signal.throwIfAborted();
      this.progress.size ??= stream?.totalSize ?? this.#kept?.size;
      this.#begin(await this.#registry.blobs.createPart(digest, this.size));
    } catch (error) {
      stream?.close();
      throw error;
    }
    this.#started.resolve();
    this.#considerAbandoning();
    if (!isWhole) return stream;
    stream?.close();
    return undefined;
  }

  #begin(part: BlobPart): void {
    const { digest, progress, open } = this;
    for (const extent of part.kept) progress.wrote(extent);
    const follower = new PartFollower(part, progress.written, (error) => download.fail(error));
    const download = new Download({
      digest,
      part,
      progress,
      open,
      limits: this.#registry.segmentLimits,
      demands: () => [...this.#readers].flatMap(({ demand }) => demand ?? []),
      onWritten: (extent) => {
        this.#receivedBytes += extent.end - extent.start;
        progress.wrote(extent);
        follower.wrote();
      },
    });
    if (this.#upstream.isDecoded) download.goSequential();
    this.#work = { part, follower, download };
    follower.wrote();
  }

  async #verify(): Promise<void> {
    const { part, size = 0 } = this;
    await this.#work?.follower.finish();
    await part?.hashTo(size, this.#abort.signal);
    if (!(await part?.isRight())) {
      throw new BlobBodyError('corrupt', `the ${size} bytes that were received are not ${this.digest}`);
    }
    this.progress.verify(size);
    await part?.commit(size);
  }

  async #failed(error: unknown): Promise<FillEnd> {
    const { part, digest } = this;
    const result = this.#resultOf(error);
    this.#started.reject(error);
    // A verified blob is right for its readers, even if the disk then fails to keep it.
    if (!this.progress.isVerified) {
      const reason = error instanceof Error ? error.message : String(error);
      const broken =
        error instanceof BlobBodyError ? error : new BlobBodyError('broken', `${digest}: ${reason}`, error);
      this.progress.fail(result === 'disk' ? DIVERTED : broken);
    }
    this.#work?.follower.stop();
    await this.#work?.follower.finish();
    if (part !== undefined) await this.#giveUp(part, result);
    return this.#end(result, error);
  }

  /** Keeps the bytes for the next attempt, unless they are known to be wrong. */
  async #giveUp(part: BlobPart, result: FillResult): Promise<void> {
    const { list } = this.progress.written;
    try {
      if ((result === 'broken' || result === 'abandoned') && list.length > 0) await part.keep([...list]);
      else await part.discard();
    } catch {
      await part.discard();
    }
  }

  #resultOf(error: unknown): FillResult {
    if (error instanceof BlobStoreError) return 'disk';
    if (this.#abort.signal.aborted) return 'abandoned';
    return error instanceof BlobBodyError ? error.code : 'broken';
  }

  #end(result: FillResult, error?: unknown): FillEnd {
    return {
      result,
      bytes: this.#receivedBytes,
      resumedBytes: new Extents(this.part?.kept).bytes,
      segments: this.#work?.download.opened ?? 0,
      error,
    };
  }

  #leave(reader: FillReader, client: string): void {
    this.#readers.delete(reader);
    // Waiting readers may get the connection that served this one.
    this.progress.changed();
    if (this.isRead) return;
    if (this.#isOver) {
      this.part?.close().catch(() => undefined);
      return;
    }
    // Otherwise `#run` cleans up.
    if (this.isOver) return;
    this.#considerAbandoning();
    this.#registry.unread(this, client);
  }

  #considerAbandoning(): void {
    if (this.#link?.by === 'manifest' || this.isRead) return;
    this.#abandonTimer?.stop();
    this.#abandonTimer = runningTime.timer(ABANDON_AFTER_MS, () => this.abort());
  }
}
