import type { Hash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { digestHasher, hasherMatches, type Digest } from '../oci/digest.ts';
import { BlobStoreError, type BlobPart } from '../store/blob-store.ts';
import { BodyBrokenError, type BlobStream, type Outcome } from '../upstream/upstream.ts';
import { BlobBodyError, type BlobBody } from './blob-body.ts';
import { FillProgress } from './fill-progress.ts';
import { FillReader } from './fill-reader.ts';
import { failureError, failureReason } from './outcome-error.ts';
import { PartWriter } from './part-writer.ts';
import { PullError } from './pull-error.ts';

/** Upstream may break off this often in a row without a byte of progress. */
const MAX_FRUITLESS_ATTEMPTS = 5;
const FIRST_PAUSE_MS = 200;
const MAX_PAUSE_MS = 4000;
/** A fill that nobody reads, of a blob that no served manifest names, ends after this time. */
const ABANDON_AFTER_MS = 10_000;

export type FillResult = 'stored' | 'corrupt' | 'broken' | 'disk' | 'abandoned';

/** How a fill ended; `error` unless it was stored. */
export interface FillEnd {
  readonly result: FillResult;
  readonly bytes: number;
  readonly error?: unknown;
}

export interface FillOptions {
  readonly digest: Digest;
  /** What a manifest says of the size, in bytes. */
  readonly expectedSize: number | undefined;
  /** A served manifest names the blob, so somebody will come for it: the fill goes on without readers. */
  readonly isNamed: boolean;
  /** Opens upstream's blob from an offset on, on fresh tokens and redirects. */
  readonly open: (offset: number) => Promise<Outcome<BlobStream>>;
  readonly createPart: (expectedSize: number | undefined) => Promise<BlobPart>;
}

/** What a fill works with once upstream has answered. */
interface Transfer {
  readonly part: BlobPart;
  readonly writer: PartWriter;
  stream: BlobStream | undefined;
}

/**
 * One transfer of a blob from upstream, which belongs to nobody: it writes a part file that grows, every reader
 * follows it from wherever it starts, and the first client going away hurts none of them. When upstream breaks off
 * it goes on by Range from where it was. The hash runs over everything; only what matches the digest is kept.
 */
export class BlobFill {
  /** Resolves once upstream has answered and readers can join; rejects with PullError or BlobStoreError. */
  readonly started: Promise<void>;
  /** Resolves when everything is over, and the blob is stored or not. Never rejects. */
  readonly ended: Promise<FillEnd>;
  readonly #options: FillOptions;
  readonly #abort = new AbortController();
  readonly #hasher: Hash;
  readonly #progress = new FillProgress();
  #transfer: Transfer | undefined;
  #received = 0;
  #readers = 0;
  #isOver = false;
  #abandonTimer: NodeJS.Timeout | undefined;

  constructor(options: FillOptions) {
    this.#options = options;
    this.#hasher = digestHasher(options.digest);
    const start = this.#start();
    this.started = start.then(() => undefined);
    this.ended = start.then(
      (transfer) => this.#run(transfer),
      (error: unknown): FillEnd => ({ result: 'broken', bytes: 0, error }),
    );
    this.started.catch(() => undefined);
  }

  get size(): number | undefined {
    return this.#progress.size;
  }

  /** Nothing more will come of it, although it may not have ended yet. */
  get hasFailed(): boolean {
    return this.#progress.hasFailed;
  }

  /** A body that follows the fill; after `started` only. It counts as a reader until it is closed. */
  join(cache: 'stored' | 'collapsed'): BlobBody {
    if (this.#transfer === undefined) throw new TypeError('a fill can be joined once it has started');
    this.#readers++;
    clearTimeout(this.#abandonTimer);
    const { part } = this.#transfer;
    return new FillReader({ part, progress: this.#progress, cache, onClose: () => this.#leave() });
  }

  /** Ends the fill, whoever reads it. */
  abort(): void {
    this.#abort.abort();
    this.#transfer?.stream?.close();
  }

  async #start(): Promise<Transfer> {
    const { digest, open, createPart, expectedSize } = this.#options;
    const outcome = await open(0);
    if (outcome.kind !== 'ok') throw failureError(outcome, digest, 'blob-unknown');
    const stream = outcome.value;
    try {
      this.#progress.size = agreedSize(stream.totalSize, expectedSize, digest);
      const part = await createPart(this.#progress.size);
      const writer = new PartWriter(part, (written) => this.#progress.advance(written));
      this.#transfer = { part, writer, stream };
    } catch (error) {
      stream.close();
      throw error;
    }
    this.#considerAbandoning();
    return this.#transfer;
  }

  async #run(transfer: Transfer): Promise<FillEnd> {
    const end = await this.#transferAll(transfer).then(
      (): FillEnd => ({ result: 'stored', bytes: this.#received }),
      (error: unknown) => this.#failed(transfer, error),
    );
    this.#isOver = true;
    clearTimeout(this.#abandonTimer);
    transfer.stream?.close();
    if (this.#readers === 0) await transfer.part.close();
    return end;
  }

  async #transferAll(transfer: Transfer): Promise<void> {
    const { digest } = this.#options;
    await this.#receiveAll(transfer);
    await transfer.writer.flush();
    if (!hasherMatches(this.#hasher, digest)) {
      throw new BlobBodyError('corrupt', `upstream sent ${this.#received} bytes that are not ${digest}`);
    }
    this.#progress.verify(this.#received);
    await transfer.part.commit(this.#received);
  }

  async #receiveAll(transfer: Transfer): Promise<void> {
    for (let fruitless = 0; ;) {
      const before = this.#received;
      try {
        transfer.stream ??= await this.#reopen(fruitless);
        await this.#receive(transfer.stream, transfer.writer);
        return;
      } catch (error) {
        transfer.stream?.close();
        transfer.stream = undefined;
        if (!(error instanceof BodyBrokenError)) throw error;
        fruitless = this.#received > before ? 0 : fruitless + 1;
        if (fruitless >= MAX_FRUITLESS_ATTEMPTS) {
          throw new BlobBodyError('broken', `gave up on ${this.#options.digest}: ${error.message}`, error);
        }
      }
    }
  }

  async #reopen(fruitless: number): Promise<BlobStream> {
    const pauseMs = Math.min(FIRST_PAUSE_MS * 2 ** fruitless, MAX_PAUSE_MS) * (0.75 + Math.random() / 2);
    await delay(pauseMs, undefined, { signal: this.#abort.signal });
    const outcome = await this.#options.open(this.#received);
    if (outcome.kind !== 'ok') throw new BodyBrokenError('cut', failureReason(outcome));
    const { size } = this.#progress;
    const { totalSize } = outcome.value;
    if (size !== undefined && totalSize !== undefined && totalSize !== size) {
      outcome.value.close();
      throw new BodyBrokenError('cut', `upstream now says ${totalSize} bytes instead of ${size}`);
    }
    return outcome.value;
  }

  /** Takes one body to its end. An upstream that ignored the range sends from the start: what is known is skipped. */
  async #receive(stream: BlobStream, writer: PartWriter): Promise<void> {
    const { size } = this.#progress;
    let position = stream.offset;
    for await (const chunk of stream.body) {
      this.#abort.signal.throwIfAborted();
      const known = this.#received - position;
      position += chunk.length;
      if (known >= chunk.length) continue;
      const fresh = known > 0 ? chunk.subarray(known) : chunk;
      this.#received += fresh.length;
      if (size !== undefined && this.#received > size) {
        throw new BlobBodyError(
          'corrupt',
          `upstream sent more than the ${size} bytes of ${this.#options.digest}`,
        );
      }
      this.#hasher.update(fresh);
      await writer.push(fresh);
    }
    if (size !== undefined && this.#received < size) {
      throw new BodyBrokenError('short', `upstream sent ${this.#received} of ${size} bytes`);
    }
  }

  async #failed(transfer: Transfer, error: unknown): Promise<FillEnd> {
    const { digest } = this.#options;
    // Readers of a verified blob have what they came for, whether or not the disk keeps it.
    if (!this.#progress.isVerified) {
      const reason = error instanceof Error ? error.message : String(error);
      const failure =
        error instanceof BlobBodyError ? error : new BlobBodyError('broken', `${digest}: ${reason}`, error);
      this.#progress.fail(failure);
    }
    await transfer.writer.flush().catch(() => undefined);
    await transfer.part.discard();
    return { result: this.#resultOf(error), bytes: this.#received, error };
  }

  #resultOf(error: unknown): FillResult {
    if (this.#abort.signal.aborted) return 'abandoned';
    if (error instanceof BlobStoreError) return 'disk';
    return error instanceof BlobBodyError ? error.code : 'broken';
  }

  #leave(): void {
    this.#readers--;
    if (this.#readers > 0) return;
    if (this.#isOver) void this.#transfer?.part.close();
    else this.#considerAbandoning();
  }

  #considerAbandoning(): void {
    if (this.#options.isNamed || this.#readers > 0) return;
    clearTimeout(this.#abandonTimer);
    this.#abandonTimer = setTimeout(() => this.abort(), ABANDON_AFTER_MS);
    this.#abandonTimer.unref();
  }
}

function agreedSize(
  told: number | undefined,
  expected: number | undefined,
  digest: Digest,
): number | undefined {
  if (told !== undefined && expected !== undefined && told !== expected) {
    throw new PullError(
      'unavailable',
      `upstream says that ${digest} has ${told} bytes, its manifest says ${expected}`,
    );
  }
  return told ?? expected;
}
