import type { Hash } from 'node:crypto';
import { BlobBodyError, HELD_BACK_BYTES } from '../../download/errors.ts';
import type { Demand } from '../../download/plan.ts';
import { DIVERTED, type FillProgress } from '../../download/progress.ts';
import { upstreamBytes, type OpenBlob } from '../../download/source.ts';
import { fairTurn } from '../../lib/turns.ts';
import { digestHasher, hasherMatches, type Digest } from '../../oci/digest.ts';
import type { ByteRange } from '../../oci/range.ts';
import type { BlobPart } from '../../store/blobs.ts';
import { type BlobSection, isHeldBack, type BlobBody, type CacheStatus } from '../answer/answers.ts';

/** A section whose bytes come as chunks. After an abort it never ends as if it were whole. */
export function sectionOf(chunks: AsyncIterator<Buffer, void>, signal: AbortSignal): BlobSection {
  return {
    read: async () => {
      for (;;) {
        const next = await chunks.next();
        if (signal.aborted) throw new BlobBodyError('broken', 'the reader was closed');
        if (next.done === true) return [];
        if (next.value.length > 0) return [next.value];
      }
    },
  };
}

/**
 * Passes chunks to the end of a blob on, of which the last ones wait until the whole is what `digest` names.
 * `hasher` has seen everything before them. Throws BlobBodyError `corrupt`.
 */
export async function* verifiedAtEnd(
  chunks: AsyncIterable<Buffer>,
  hasher: Hash,
  digest: Digest,
): AsyncGenerator<Buffer, void> {
  const heldBack: Buffer[] = [];
  let heldBytes = 0;
  for await (const chunk of chunks) {
    hasher.update(chunk);
    heldBack.push(chunk);
    heldBytes += chunk.length;
    for (let head = heldBack[0]; head && heldBytes - head.length >= HELD_BACK_BYTES; head = heldBack[0]) {
      heldBack.shift();
      heldBytes -= head.length;
      yield head;
    }
  }
  if (!hasherMatches(hasher, digest)) {
    throw new BlobBodyError('corrupt', `upstream sent bytes that are not ${digest}`);
  }
  yield* heldBack;
}

/** The fill, as its readers see it. */
export interface FillSource {
  readonly digest: Digest;
  readonly progress: FillProgress;
  /** There as soon as any byte is written. */
  readonly part: BlobPart | undefined;
  /** Whether others read it, too. */
  readonly isShared: boolean;
  /** Bytes from `position` on that were written a moment ago and need not be read back; else nothing. */
  recent(position: number, maxBytes: number): readonly Buffer[];
  /** Tells it what a reader waits for. */
  want(demand: Demand): void;
  /** For readers of what the disk does not take. */
  readonly open: OpenBlob;
  /** For the same. */
  readonly starts: StartHashes;
}

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };

/** One client that follows a running fill from its own offset. */
export class FillReader implements BlobBody {
  readonly cache: CacheStatus;
  readonly #source: FillSource;
  readonly #onClose: () => void;
  readonly #abort = new AbortController();
  #demand: Mutable<Demand> | undefined;
  #giveUp: (() => void) | undefined;
  #wasRecent = false;

  constructor(options: { source: FillSource; cache: CacheStatus; onClose: () => void }) {
    this.#source = options.source;
    this.#onClose = options.onClose;
    this.cache = options.cache;
  }

  get size(): number | undefined {
    return this.#source.progress.size;
  }

  /** What it reads now; undefined between sections. */
  get demand(): Demand | undefined {
    return this.#demand;
  }

  section(range: ByteRange | undefined): BlobSection {
    const isHeld = isHeldBack(range, this.size);
    const start = range?.start ?? 0;
    const demand: Mutable<Demand> = {
      start,
      position: start,
      end: range?.end ?? Infinity,
      waitsSince: undefined,
    };
    this.#demand = demand;
    let own: BlobSection | undefined;
    return {
      read: async (buffer) => {
        if (own !== undefined) return own.read(buffer);
        if (demand.position >= demand.end) return [];
        const limit = await this.#limitBeyond(demand, isHeld);
        demand.waitsSince = undefined;
        const length = Math.min(limit ?? Infinity, demand.end) - demand.position;
        if (length <= 0) return [];
        const chunks = limit === undefined ? [] : await this.#written(buffer, length, demand.position);
        for (const chunk of chunks) demand.position += chunk.length;
        if (chunks.length > 0) return chunks;
        // Neither the fill nor the disk gives the next byte.
        own = await this.#ownSection(demand.position, range, isHeld);
        this.#demand = undefined;
        return own.read(buffer);
      },
    };
  }

  close(): void {
    if (this.#abort.signal.aborted) return;
    this.#abort.abort();
    this.#giveUp?.();
    this.#onClose();
  }

  /** Nothing if the disk cannot give what was written to it. */
  async #written(buffer: Buffer, length: number, position: number): Promise<readonly Buffer[]> {
    if (this.#wasRecent) await fairTurn();
    // Whoever has small buffers is one of many: what a slow one of them has taken stays in memory for it alone.
    const recent = this.#source.recent(position, Math.min(length, 2 * buffer.length));
    this.#wasRecent = recent.length > 0;
    if (this.#wasRecent) return recent;
    const { part, isShared } = this.#source;
    const size = Math.min(length, buffer.length);
    const read = (await part?.read(buffer, size, position, isShared).catch(() => 0)) ?? 0;
    return read > 0 ? [buffer.subarray(0, read)] : [];
  }

  /** Up to where bytes are there beyond `demand.position`; undefined if they will not come by the fill. */
  async #limitBeyond(demand: Mutable<Demand>, isHeld: boolean): Promise<number | undefined> {
    const { progress } = this.#source;
    for (;;) {
      if (this.#abort.signal.aborted) throw new BlobBodyError('broken', 'the reader was closed');
      const limit = progress.limitFrom(demand.position, isHeld);
      if (limit === DIVERTED) return undefined;
      if (limit > demand.position || progress.isVerified) return limit;
      demand.waitsSince ??= performance.now();
      this.#source.want(demand);
      await new Promise<void>((resolve) => {
        const forget = progress.onChange(demand.position, resolve);
        this.#giveUp = () => {
          forget();
          resolve();
        };
      });
    }
  }

  async #ownSection(start: number, range: ByteRange | undefined, isHeld: boolean): Promise<BlobSection> {
    const { digest, open, part, starts } = this.#source;
    const { signal } = this.#abort;
    const chunks = upstreamBytes({
      digest,
      start,
      limit: () => range?.end ?? this.size,
      open,
      signal,
      maySkip: () => true,
    });
    // What began in the middle cannot be verified without the bytes before it, which nobody fetches for that.
    if (!isHeld || (range?.start ?? 0) > 0) return sectionOf(chunks, signal);
    const hasher = (await starts.of(part, digest, start)).copy();
    return sectionOf(verifiedAtEnd(chunks, hasher, digest), signal);
  }
}

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
