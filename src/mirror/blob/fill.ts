import type { Hash } from 'node:crypto';
import { Download } from '../../download/download.ts';
import { BlobBodyError } from '../../download/errors.ts';
import { PartFollower } from '../../download/part-follower.ts';
import { firstMissing, type Demand } from '../../download/plan.ts';
import { DIVERTED, FillProgress } from '../../download/progress.ts';
import { FillUpstream, type OpenBlob } from '../../download/source.ts';
import { runningTime, type RunningTimer } from '../../lib/clock.ts';
import { Extents } from '../../lib/extents.ts';
import { aborted, deferred } from '../../lib/promises.ts';
import { digestHasher, type Digest } from '../../oci/digest.ts';
import { type BlobPart, BlobStoreError } from '../../store/blobs.ts';
import type { BlobStream } from '../../upstream/upstream.ts';
import type { BlobBody } from '../answer/answers.ts';
import { failureError, PullError } from '../answer/errors.ts';
import { FillReader, type FillSource } from './reader.ts';
import type { FillEnd, FillOptions, FillResult, SlotUser } from './slots.ts';

const READ_BYTES = 256 * 1024;

/** Hashes of the start of a part, for readers that go on without it: one for all who do so at the same byte. */
export class StartHashes {
  readonly #byEnd = new Map<number, Promise<Hash>>();

  /** Of the first `end` bytes, all of which are written; of nothing if there is no part. To be copied before use. */
  of(part: BlobPart | undefined, digest: Digest, end: number): Promise<Hash> {
    const hash = this.#byEnd.get(end) ?? hashOfStart(part, digest, end);
    this.#byEnd.set(end, hash);
    return hash;
  }
}

async function hashOfStart(part: BlobPart | undefined, digest: Digest, end: number): Promise<Hash> {
  const hasher = digestHasher(digest);
  const buffer = Buffer.alloc(READ_BYTES);
  for (let at = 0; at < end;) {
    const read = (await part?.read(buffer, Math.min(buffer.length, end - at), at)) ?? 0;
    if (read === 0) throw new BlobBodyError('broken', 'the part file lost bytes that were written to it');
    hasher.update(buffer.subarray(0, read));
    at += read;
  }
  return hasher;
}

/** A fill that nobody reads, of a blob that no served manifest names, ends after this time. */
const ABANDON_AFTER_MS = 10_000;

/** What a fill works with once upstream has answered. */
interface Work {
  readonly part: BlobPart;
  readonly follower: PartFollower;
  readonly transfer: Download;
}

/**
 * One transfer of a blob from upstream, which belongs to nobody: it writes a part file that grows, at several places
 * if readers start far apart, every reader follows it from wherever it starts, and the first client going away hurts
 * none of them. The hash runs over everything; only what matches the digest is kept as a blob, and what was written
 * when a transfer had to be given up is where the next one goes on.
 */
export class BlobFill implements FillSource, SlotUser {
  /** Resolves once upstream has answered; rejects with PullError or BlobStoreError. */
  readonly started: Promise<void>;
  /** Resolves when everything is over, and the blob is stored or not. Never rejects. */
  readonly ended: Promise<FillEnd>;
  readonly progress = new FillProgress();
  readonly #options: FillOptions;
  readonly #upstream: FillUpstream;
  readonly #abort = new AbortController();
  readonly #started = deferred<void>();
  readonly #readers = new Set<FillReader>();
  #work: Work | undefined;
  readonly #starts = new StartHashes();
  #isQueued = true;
  #isPaused = false;
  #isOver = false;
  #receivedBytes = 0;
  #abandonTimer: RunningTimer | undefined;

  constructor(options: FillOptions) {
    this.#options = options;
    // What was kept may be another repository's: nothing is told of it before upstream has said that this one has it.
    this.progress.size = options.expectedSize ?? (options.isLinked ? options.kept?.size : undefined);
    this.#upstream = new FillUpstream({
      digest: options.digest,
      progress: this.progress,
      open: options.open,
      onDecoded: () => this.#work?.transfer.goSequential(),
    });
    this.started = this.#started.promise;
    this.ended = this.#run();
  }

  get digest(): Digest {
    return this.#options.digest;
  }

  get open(): OpenBlob {
    return this.#upstream.open;
  }

  get size(): number | undefined {
    return this.progress.size;
  }

  /** Whether its size, which nobody but a manifest has told yet, is another one than `size`. */
  contradicts(size: number | undefined): boolean {
    const isClaim = !this.#upstream.hasToldSize && this.size !== undefined;
    return isClaim && size !== undefined && size !== this.size;
  }

  get part(): BlobPart | undefined {
    return this.#work?.part;
  }

  get isRead(): boolean {
    return this.#readers.size > 0;
  }

  get isShared(): boolean {
    return this.#readers.size > 1;
  }

  /** It waits for its turn and has not asked upstream yet. */
  get isQueued(): boolean {
    return this.#isQueued;
  }

  /** It can be joined no more, although it may not have ended yet. */
  get isOver(): boolean {
    return this.#isOver || this.progress.hasFailed || this.#abort.signal.aborted;
  }

  /**
   * A body that follows the fill, for `client`; it counts as a reader until it is closed. It can be read once the fill
   * has started, or before if its size is known.
   */
  join(cache: 'stored' | 'collapsed', client: string): BlobBody {
    const reader = new FillReader({ source: this, cache, onClose: () => this.#leave(reader, client) });
    this.#readers.add(reader);
    this.#abandonTimer?.stop();
    if (this.#readers.size === 1) {
      this.#options.onRead();
      this.#options.slots.reconsider();
    }
    return reader;
  }

  /** Ends the fill, whoever reads it. What is written is kept for the next one. */
  abort(): void {
    this.#abort.abort(new PullError('unavailable', `${this.digest} is not fetched any more`));
    this.#work?.transfer.stop();
    this.#work?.follower.stop();
  }

  pause(): void {
    this.#isPaused = true;
    this.#work?.transfer.stop();
  }

  want(demand: Demand): void {
    this.#work?.transfer.want(demand);
  }

  recent(position: number, maxBytes: number): readonly Buffer[] {
    return this.#work?.transfer.recent(position, maxBytes) ?? [];
  }

  hashOfStart(end: number): Promise<Hash> {
    return this.#starts.of(this.part, this.digest, end);
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
      this.#options.slots.leave(this);
      if (!this.isRead) await this.part?.close();
    }
  }

  async #takeTurns(): Promise<void> {
    const { slots } = this.#options;
    const { signal } = this.#abort;
    do {
      this.#isPaused = false;
      // Without a size there are no headers to be sent early: such a blob is not made to wait.
      if (this.size !== undefined) await Promise.race([slots.enter(this), aborted(signal)]);
      signal.throwIfAborted();
      const first = this.#work === undefined ? await this.#start() : undefined;
      if (this.#isPaused || signal.aborted) first?.close();
      else await this.#work?.transfer.receive(first);
      slots.leave(this);
      signal.throwIfAborted();
    } while (this.#isPaused);
  }

  /** Asks upstream, and makes the part. The answer is undefined if nothing is missing. */
  async #start(): Promise<BlobStream | undefined> {
    this.#isQueued = false;
    const { host, kept, isLinked, createPart } = this.#options;
    const missing = firstMissing(kept, this.size);
    const isWhole = missing === undefined;
    const { signal } = this.#abort;
    const outcome =
      isWhole && isLinked ? undefined : await this.#upstream.first(missing ?? { start: 0 }, signal);
    if (outcome !== undefined && outcome.kind !== 'ok')
      throw failureError(outcome, { what: this.digest, host, absent: 'blob-unknown' });
    const stream = outcome?.value;
    try {
      signal.throwIfAborted();
      this.progress.size ??= stream?.totalSize ?? kept?.size;
      this.#begin(await createPart(this.size));
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
    const follower = new PartFollower(part, progress.written, (error) => transfer.fail(error));
    const transfer = new Download({
      digest,
      part,
      progress,
      open,
      limits: this.#options.limits,
      demands: () => [...this.#readers].flatMap(({ demand }) => demand ?? []),
      onWritten: (extent) => {
        this.#receivedBytes += extent.end - extent.start;
        progress.wrote(extent);
        follower.wrote();
      },
    });
    if (this.#upstream.isDecoded) transfer.goSequential();
    this.#work = { part, follower, transfer };
    follower.wrote();
  }

  async #verify(): Promise<void> {
    const { part, size = 0 } = this;
    await this.#work?.follower.finish();
    await part?.hashTo(size, this.#abort.signal);
    if (!(await part?.isRight())) {
      throw new BlobBodyError('corrupt', `${size} bytes came that are not ${this.digest}`);
    }
    this.progress.verify(size);
    await part?.commit(size);
  }

  async #failed(error: unknown): Promise<FillEnd> {
    const { part, digest } = this;
    const result = this.#resultOf(error);
    this.#started.reject(error);
    // Readers of a verified blob have what they came for, whether or not the disk keeps it.
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

  /** What is right as far as anybody knows is where the next attempt goes on. */
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
      segments: this.#work?.transfer.opened ?? 0,
      ...(error === undefined ? {} : { error }),
    };
  }

  #leave(reader: FillReader, client: string): void {
    this.#readers.delete(reader);
    // Those that wait may have the connection that worked for this one.
    this.progress.changed();
    if (this.isRead) return;
    if (this.#isOver) {
      this.part?.close().catch(() => undefined);
      return;
    }
    // Then its end takes care of all.
    if (this.isOver) return;
    this.#considerAbandoning();
    this.#options.onUnread(client);
    this.#options.slots.reconsider();
  }

  #considerAbandoning(): void {
    if (this.#options.isNamed || this.isRead) return;
    this.#abandonTimer?.stop();
    this.#abandonTimer = runningTime.timer(ABANDON_AFTER_MS, () => this.abort());
  }
}
