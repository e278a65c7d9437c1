import { BundleError } from './error.ts';
import { BLOCK_BYTES, paddingBytes, parseTarHeader, paxPath, type TarEntry, type TarHeader } from './tar.ts';

/** A stream of bytes that is read in pieces of the reader's choice. */
export class ByteSource {
  readonly #chunks: AsyncIterator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);
  #position = 0;

  constructor(stream: AsyncIterable<Buffer>) {
    this.#chunks = stream[Symbol.asyncIterator]();
  }

  /** How many bytes have been read. */
  get position(): number {
    return this.#position;
  }

  /** Whatever is there, at most `maxBytes`; undefined at the end. */
  async some(maxBytes: number): Promise<Buffer | undefined> {
    while (this.#rest.length === 0) {
      const next = await this.#chunks.next();
      if (next.done === true) return undefined;
      this.#rest = next.value;
    }
    const piece = this.#rest.subarray(0, maxBytes);
    this.#rest = this.#rest.subarray(piece.length);
    this.#position += piece.length;
    return piece;
  }

  /** The next `bytes`; fewer at the end. */
  async exactly(bytes: number): Promise<Buffer> {
    const pieces: Buffer[] = [];
    for (let left = bytes; left > 0;) {
      const piece = await this.some(left);
      if (piece === undefined) break;
      pieces.push(piece);
      left -= piece.length;
    }
    const [only] = pieces;
    return only !== undefined && pieces.length === 1 ? only : Buffer.concat(pieces);
  }
}

const MAX_EXTENDED_BYTES = 4096;
const MAX_CHUNK_BYTES = 1024 * 1024;

/**
 * An archive as it comes, a file at a time, in the order in which they lie there. Plain files only: nothing else is in
 * a bundle. All methods throw BundleError `cut-short` or `corrupt`, and what the stream throws.
 */
export class TarReader {
  readonly #source: ByteSource;
  /** Of the current file: bytes that nobody has read, its padding, and its name for messages. */
  #leftBytes = 0;
  #paddingBytes = 0;
  #name = 'the beginning';

  constructor(stream: AsyncIterable<Buffer>) {
    this.#source = new ByteSource(stream);
  }

  /** The next file; undefined at the end of the archive. What was not read of the one before is skipped. */
  async next(): Promise<TarEntry | undefined> {
    const header = await this.#header();
    if (header?.kind !== 'extended') return header;
    const path = paxPath((await this.whole(MAX_EXTENDED_BYTES)) ?? Buffer.alloc(0));
    const next = await this.#header();
    if (next?.kind !== 'file') throw this.#corrupt();
    this.#name = path ?? next.name;
    return { name: this.#name, size: next.size };
  }

  async #header(): Promise<TarHeader | undefined> {
    await this.#skip();
    const block = await this.#source.exactly(BLOCK_BYTES);
    if (block.length < BLOCK_BYTES) throw this.#cutShort();
    if (isZero(block)) {
      await this.#end();
      return undefined;
    }
    const header = parseTarHeader(block);
    if (header === undefined) throw this.#corrupt();
    this.#name = header.name;
    this.#leftBytes = header.size;
    this.#paddingBytes = paddingBytes(header.size);
    return header;
  }

  /** The current file's bytes that were not read yet. */
  async *chunks(): AsyncGenerator<Buffer, void> {
    while (this.#leftBytes > 0) {
      const chunk = await this.#source.some(Math.min(this.#leftBytes, MAX_CHUNK_BYTES));
      if (chunk === undefined) throw this.#cutShort();
      this.#leftBytes -= chunk.length;
      yield chunk;
    }
  }

  /** All of the current file; undefined if it is larger than `maxBytes`. */
  async whole(maxBytes: number): Promise<Buffer | undefined> {
    if (this.#leftBytes > maxBytes) return undefined;
    const chunks: Buffer[] = [];
    for await (const chunk of this.chunks()) chunks.push(chunk);
    return Buffer.concat(chunks);
  }

  async #skip(): Promise<void> {
    for await (const _chunk of this.chunks());
    const padding = await this.#source.exactly(this.#paddingBytes);
    if (padding.length < this.#paddingBytes) throw this.#cutShort();
    this.#paddingBytes = 0;
  }

  /** The rest must be there, since whoever sends it waits for it to be taken, and must be nothing. */
  async #end(): Promise<void> {
    if ((await this.#source.exactly(BLOCK_BYTES)).length < BLOCK_BYTES) throw this.#cutShort();
    for (let rest = await this.#some(); rest !== undefined; rest = await this.#some()) {
      if (isZero(rest)) continue;
      const at = this.#source.position - rest.length;
      throw new BundleError('corrupt', `something follows the end of the archive, at byte ${at}`);
    }
  }

  #some(): Promise<Buffer | undefined> {
    return this.#source.some(MAX_CHUNK_BYTES);
  }

  #corrupt(): BundleError {
    const at = this.#source.position - BLOCK_BYTES;
    return new BundleError('corrupt', `what follows ${this.#name}, at byte ${at}, is no file of an archive`);
  }

  #cutShort(): BundleError {
    return new BundleError(
      'cut-short',
      `the bundle is cut short: it ends at byte ${this.#source.position}, in or after ${this.#name}`,
    );
  }
}

function isZero(bytes: Buffer): boolean {
  return bytes.every((byte) => byte === 0);
}
