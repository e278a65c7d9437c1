import type { Hash } from 'node:crypto';
import { BlobBodyError, HELD_BACK_BYTES } from '../../download/errors.ts';
import type { Demand } from '../../download/plan.ts';
import { DIVERTED, type FillProgress } from '../../download/progress.ts';
import { upstreamBytes, type OpenBlob } from '../../download/source.ts';
import { hold, release } from '../../lib/receive-buffers.ts';
import { fairTurn } from '../../lib/turns.ts';
import { digestHasher, hasherMatches, type Digest } from '../../oci/digest.ts';
import type { ByteRange } from '../../oci/range.ts';
import type { BlobPart } from '../../store/blobs.ts';
import { type BlobSection, isHeldBack, type BlobBody, type CacheStatus } from '../answer/answers.ts';

/** A section from chunks. After an abort it throws, so that it does not seem complete. */
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
 * Passes on the chunks up to the end of a blob. The last ones wait until the hash matches `digest`. `hasher` must
 * contain all bytes before the chunks. Throws BlobBodyError `corrupt`.
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
    throw new BlobBodyError('corrupt', `the bytes that were received are not ${digest}`);
  }
  yield* heldBack;
}

/** What a reader uses of its fill. */
export interface FillSource {
  readonly digest: Digest;
  readonly progress: FillProgress;
  /** Undefined until upstream has answered. */
  readonly part: BlobPart | undefined;
  /** Whether it has several readers. */
  readonly isShared: boolean;
  /** Bytes from `position` on that are still in memory; empty if there are none. */
  recent(position: number, maxBytes: number): readonly Buffer[];
  /** Reports the position that a reader waits for. */
  want(demand: Demand): void;
  /** For readers that go on without the disk, like `starts`. */
  readonly open: OpenBlob;
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
  /** Received bytes that the client is sent, by read: the last two reads. */
  readonly #lent: (readonly Buffer[])[] = [];

  constructor(options: { source: FillSource; cache: CacheStatus; onClose: () => void }) {
    this.#source = options.source;
    this.#onClose = options.onClose;
    this.cache = options.cache;
  }

  get size(): number | undefined {
    return this.#source.progress.size;
  }

  /** The section that it reads now; undefined between sections. */
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
        // An empty blob has no end that could be held back: here it waits to be verified.
        if (demand.position >= demand.end && !(isHeld && demand.end === 0)) return [];
        const limit = await this.#limitBeyond(demand, isHeld);
        demand.waitsSince = undefined;
        const length = Math.min(limit ?? Infinity, demand.end) - demand.position;
        if (length <= 0 && limit !== undefined) return [];
        const chunks = limit === undefined ? [] : await this.#written(buffer, length, demand.position);
        for (const chunk of chunks) demand.position += chunk.length;
        if (chunks.length > 0) return chunks;
        // Neither the fill nor the disk has the next byte.
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

  /** Empty if the disk cannot read back the bytes. */
  async #written(buffer: Buffer, length: number, position: number): Promise<readonly Buffer[]> {
    if (this.#wasRecent) await fairTurn();
    // A small buffer means many readers: each slow one keeps its recent bytes in memory, so it gets few.
    const recent = this.#source.recent(position, Math.min(length, 4 * buffer.length));
    this.#lend(recent);
    this.#wasRecent = recent.length > 0;
    if (this.#wasRecent) return recent;
    const { part, isShared } = this.#source;
    const size = Math.min(length, buffer.length);
    const read = (await part?.read(buffer, size, position, isShared).catch(() => 0)) ?? 0;
    return read > 0 ? [buffer.subarray(0, read)] : [];
  }

  /** The caller has sent the chunks of the read before the last one. */
  #lend(chunks: readonly Buffer[]): void {
    if (this.#lent.length === 2) this.#lent.shift()?.forEach(release);
    chunks.forEach(hold);
    this.#lent.push(chunks);
  }

  /** The end of the bytes available after `demand.position`; undefined if the fill will not deliver them. */
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
    // A section from the middle cannot be verified without the bytes before it; they are not fetched for that.
    if (!isHeld || (range?.start ?? 0) > 0) return sectionOf(chunks, signal);
    const hasher = (await starts.of(part, digest, start)).copy();
    return sectionOf(verifiedAtEnd(chunks, hasher, digest), signal);
  }
}

const READ_BYTES = 256 * 1024;

/** Hashes of the start of a part, for readers that go on without it. Readers at the same byte share one. */
export class StartHashes {
  readonly #byEnd = new Map<number, Promise<Hash>>();

  /** The hash of the first `end` bytes; all of them must be written. Copy it before use. */
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
    if (read === 0) throw new BlobBodyError('broken', 'the part file became shorter');
    hasher.update(buffer.subarray(0, read));
    at += read;
  }
  return hasher;
}
