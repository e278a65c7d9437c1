import { createHash } from 'node:crypto';
import { digestOf, type Digest } from '../../src/oci/digest.ts';

/** Bytes that can be sent from any offset without being held in memory; sizes and offsets in bytes. */
export interface Body {
  readonly size: number;
  /** A function that gives the bytes at an offset; each result is valid until the second call after it. */
  reader(): (offset: number, length: number) => Buffer;
}

/** A body that is addressed by its digest: a blob. */
export interface Content extends Body {
  readonly digest: Digest;
  /** A copy of `length` bytes from `offset`, to compare with what arrived. */
  expectedBytes(offset: number, length: number): Buffer;
}

export function bytesBody(bytes: Buffer): Body {
  return { size: bytes.length, reader: () => (offset, length) => bytes.subarray(offset, offset + length) };
}

export function bytesContent(bytes: Buffer): Content {
  return {
    ...bytesBody(bytes),
    digest: digestOf(bytes),
    expectedBytes: (offset, length) => Buffer.from(bytes.subarray(offset, offset + length)),
  };
}

const BLOCK_BYTES = 1024 * 1024;
const PAGE_BYTES = 4096;
const digests = new Map<string, Digest>();

/**
 * `size` pseudo-random bytes, the same for the same `seed`, made when they are read: a block of 1 MiB repeats, and
 * each page of 4 KiB in it begins with its number, so that no two pages are alike and misplaced bytes show.
 * The first call for a size and seed hashes the whole (about half a second for 512 MB); later ones remember.
 */
export function generatedContent(options: { readonly size: number; readonly seed: number }): Content {
  const { size, seed } = options;
  const block = randomBlock(seed);
  const key = `${size}:${seed}`;
  const digest = digests.get(key) ?? hashGenerated(block, size);
  digests.set(key, digest);
  return {
    size,
    digest,
    reader: () => alternatingReader(block),
    expectedBytes(offset, length) {
      const target = Buffer.alloc(Math.max(0, Math.min(length, size - offset)));
      fill(block, target, offset);
      return target;
    },
  };
}

/** Two buffers take turns, so that one can be filled while the other is on its way into the socket. */
function alternatingReader(block: Buffer): (offset: number, length: number) => Buffer {
  let current = Buffer.alloc(0);
  let other = Buffer.alloc(0);
  return (offset, length) => {
    [current, other] = [other, current];
    if (current.length < length) current = Buffer.allocUnsafeSlow(length);
    const target = current.subarray(0, length);
    fill(block, target, offset);
    return target;
  };
}

function hashGenerated(block: Buffer, size: number): Digest {
  const hash = createHash('sha256');
  const read = alternatingReader(block);
  for (let offset = 0; offset < size; offset += BLOCK_BYTES) {
    hash.update(read(offset, Math.min(BLOCK_BYTES, size - offset)));
  }
  return `sha256:${hash.digest('hex')}` as Digest;
}

/** Xorshift32 (Marsaglia 2003): random enough to defeat compression, and the same on every machine. */
function randomBlock(seed: number): Buffer {
  const block = Buffer.alloc(BLOCK_BYTES);
  let state = (seed ^ 0x9e3779b9) >>> 0 || 1;
  for (let at = 0; at < BLOCK_BYTES; at += 4) {
    state ^= state << 13;
    state ^= state >>> 17;
    state = (state ^ (state << 5)) >>> 0;
    block.writeUInt32LE(state, at);
  }
  return block;
}

function fill(block: Buffer, target: Buffer, offset: number): void {
  let done = 0;
  while (done < target.length) done += block.copy(target, done, (offset + done) % BLOCK_BYTES);
  const end = offset + target.length;
  for (let page = Math.floor(offset / PAGE_BYTES); page * PAGE_BYTES < end; page += 1) {
    const at = page * PAGE_BYTES - offset;
    if (at >= 0 && at + 4 <= target.length) target.writeUInt32BE(page, at);
    else stampEdge(target, page, at);
  }
}

/** A page number of which the range holds only some bytes. */
function stampEdge(target: Buffer, page: number, at: number): void {
  const stamp = Buffer.alloc(4);
  stamp.writeUInt32BE(page);
  for (let index = 0; index < 4; index += 1) {
    const position = at + index;
    if (position >= 0 && position < target.length) target[position] = stamp[index] ?? 0;
  }
}
