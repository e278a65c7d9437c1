import { digestHasher, hasherMatches, type Digest } from '../oci/digest.ts';
import type { ByteRange } from '../oci/range.ts';
import type { BlobStream, Outcome } from '../upstream/upstream.ts';
import { BlobBodyError, HELD_BACK_BYTES, isHeldBack, type BlobBody, type BlobSection } from './blob-body.ts';
import { failureReason } from './outcome-error.ts';

/**
 * A blob that goes from upstream to one client without touching the disk, for when the disk cannot take it. A whole
 * blob is verified on its way: its last bytes are kept in memory until the hash is known to match.
 */
export class BypassBody implements BlobBody {
  readonly cache = 'bypass';
  readonly size: number | undefined;
  readonly #digest: Digest;
  readonly #open: (offset: number) => Promise<Outcome<BlobStream>>;
  #first: BlobStream | undefined;
  #stream: BlobStream | undefined;
  #isClosed = false;

  /** `first` is upstream's answer from offset 0; `open` gets others for ranges. */
  constructor(options: {
    digest: Digest;
    size: number | undefined;
    first: BlobStream;
    open: (offset: number) => Promise<Outcome<BlobStream>>;
  }) {
    this.#digest = options.digest;
    this.#open = options.open;
    this.#first = options.first;
    this.size = options.first.totalSize ?? options.size;
  }

  section(range: ByteRange | undefined): BlobSection {
    const isWhole = range === undefined || (range.start === 0 && isHeldBack(range, this.size));
    const chunks = isWhole ? this.#wholeVerified() : this.#piece(range);
    let rest: Buffer | undefined;
    return {
      read: async (buffer) => {
        while (rest === undefined || rest.length === 0) {
          const next = await chunks.next();
          if (next.done === true) return 0;
          rest = next.value;
        }
        const length = rest.copy(buffer);
        rest = rest.subarray(length);
        return length;
      },
    };
  }

  close(): void {
    this.#isClosed = true;
    this.#first?.close();
    this.#stream?.close();
  }

  async *#wholeVerified(): AsyncGenerator<Buffer, void> {
    const hasher = digestHasher(this.#digest);
    const heldBack: Buffer[] = [];
    let heldBytes = 0;
    for await (const chunk of this.#bytesFrom(0)) {
      hasher.update(chunk);
      heldBack.push(chunk);
      heldBytes += chunk.length;
      for (let head = heldBack[0]; head && heldBytes - head.length >= HELD_BACK_BYTES; head = heldBack[0]) {
        heldBack.shift();
        heldBytes -= head.length;
        yield head;
      }
    }
    if (!hasherMatches(hasher, this.#digest)) {
      throw new BlobBodyError('corrupt', `upstream sent bytes that are not ${this.#digest}`);
    }
    yield* heldBack;
  }

  async *#piece(range: ByteRange): AsyncGenerator<Buffer, void> {
    let left = range.end - range.start;
    for await (const chunk of this.#bytesFrom(range.start)) {
      const piece = chunk.length > left ? chunk.subarray(0, left) : chunk;
      left -= piece.length;
      yield piece;
      if (left === 0) return;
    }
  }

  async *#bytesFrom(start: number): AsyncGenerator<Buffer, void> {
    const stream = await this.#streamFrom(start);
    let skip = start - stream.offset;
    try {
      for await (const chunk of stream.body) {
        const known = Math.min(skip, chunk.length);
        skip -= known;
        if (known < chunk.length) yield known === 0 ? chunk : chunk.subarray(known);
      }
    } catch (cause) {
      throw new BlobBodyError('broken', `upstream broke off ${this.#digest}`, cause);
    } finally {
      stream.close();
    }
  }

  async #streamFrom(start: number): Promise<BlobStream> {
    const first = this.#first;
    this.#first = undefined;
    if (first?.offset === start) return this.#use(first);
    first?.close();
    const outcome = await this.#open(start);
    if (outcome.kind !== 'ok')
      throw new BlobBodyError('broken', `${this.#digest}: ${failureReason(outcome)}`);
    return this.#use(outcome.value);
  }

  #use(stream: BlobStream): BlobStream {
    this.#stream = stream;
    if (this.#isClosed) stream.close();
    return stream;
  }
}
