import { BundleError } from './error.ts';
import { BLOCK_BYTES, paddingBytes, parseTarHeader, paxPath, type TarEntry, type TarHeader } from './tar.ts';

/** Reads a stream in pieces of any size. */
class ByteSource {
  readonly #chunks: AsyncIterator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);
  #position = 0;

  constructor(stream: AsyncIterable<Buffer>) {
    this.#chunks = stream[Symbol.asyncIterator]();
  }

  /** Number of bytes read so far. */
  get position(): number {
    return this.#position;
  }

  /** The next bytes, at most `maxBytes`; undefined at the end. */
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
 * Reads the files of an archive one after the other. Accepts plain files only: a bundle has no others. All methods throw
 * BundleError `cut-short` or `corrupt`, and the errors of the stream.
 */
export class TarReader {
  readonly #source: ByteSource;
  /** Of the current file: unread bytes, padding, and the name for messages. */
  #leftBytes = 0;
  #paddingBytes = 0;
  #name = 'the beginning';

  constructor(stream: AsyncIterable<Buffer>) {
    this.#source = new ByteSource(stream);
  }

  /** The next file; undefined at the end of the archive. Skips unread bytes of the current file. */
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

  /** The unread bytes of the current file. */
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

  /** Reads the stream to its end, so that its sender can finish. Only zeros may follow. */
  async #end(): Promise<void> {
    if ((await this.#source.exactly(BLOCK_BYTES)).length < BLOCK_BYTES) throw this.#cutShort();
    for (let rest = await this.#some(); rest !== undefined; rest = await this.#some()) {
      if (isZero(rest)) continue;
      const at = this.#source.position - rest.length;
      throw new BundleError('corrupt', `data follows the end of the archive: byte ${at}`);
    }
  }

  #some(): Promise<Buffer | undefined> {
    return this.#source.some(MAX_CHUNK_BYTES);
  }

  #corrupt(): BundleError {
    const at = this.#source.position - BLOCK_BYTES;
    return new BundleError('corrupt', `no valid tar header follows ${this.#name}: byte ${at}`);
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
