import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import {
  canDecode,
  contentCodings,
  decoded,
  decodedWhole,
} from '../../../src/upstream/connect/content-coding.ts';
import { BodyBrokenError } from '../../../src/upstream/upstream.ts';

const PLAIN = Buffer.from('a body '.repeat(100));

async function* chunksOf(bytes: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += 10) yield await Promise.resolve(bytes.subarray(at, at + 10));
}

async function read(chunks: AsyncIterable<Buffer>): Promise<Buffer> {
  const all: Buffer[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return Buffer.concat(all);
}

describe('the codings of a body', () => {
  it('are told last first, whatever their case, without those that change nothing', () => {
    expect(contentCodings({ 'content-encoding': 'identity, GZIP , br' })).toEqual(['br', 'gzip']);
    expect(contentCodings({ 'content-encoding': ['gzip', 'br'] })).toEqual(['br', 'gzip']);
    expect(contentCodings({})).toEqual([]);
  });

  it('can be undone if all are known, and are three at most', () => {
    expect(canDecode(['gzip', 'x-gzip', 'deflate'])).toBe(true);
    expect(canDecode(['gzip', 'gzip', 'gzip', 'gzip'])).toBe(false);
    expect(canDecode(['gzip', 'zstd'])).toBe(false);
    expect(canDecode(['constructor'])).toBe(false);
  });

  it.each([
    ['gzip', gzipSync(PLAIN)],
    ['deflate', deflateSync(PLAIN)],
    ['br', brotliCompressSync(PLAIN)],
  ])('are undone: %s', async (coding, bytes) => {
    expect(await read(decoded(chunksOf(bytes), [coding]))).toEqual(PLAIN);
    expect(await decodedWhole(bytes, [coding], PLAIN.length)).toEqual(PLAIN);
  });

  it('are undone one after the other', async () => {
    const bytes = brotliCompressSync(gzipSync(PLAIN));
    expect(await read(decoded(chunksOf(bytes), ['br', 'gzip']))).toEqual(PLAIN);
    expect(await decodedWhole(bytes, ['br', 'gzip'], PLAIN.length)).toEqual(PLAIN);
  });
});

describe('a short body', () => {
  it('is none if it becomes longer than it may be', async () => {
    expect(await decodedWhole(gzipSync(PLAIN), ['gzip'], PLAIN.length - 1)).toBeUndefined();
  });

  it('stays as it is if it is not what it is called, or nobody can undo it', async () => {
    expect(await decodedWhole(PLAIN, ['gzip'], 1e6)).toBe(PLAIN);
    expect(await decodedWhole(PLAIN, ['zstd'], 1e6)).toBe(PLAIN);
  });
});

it.each([
  ['is not what it is called', PLAIN],
  ['is cut', gzipSync(PLAIN).subarray(0, 30)],
])('a body that %s breaks', async (_, bytes) => {
  await expect(read(decoded(chunksOf(bytes), ['gzip']))).rejects.toThrow(BodyBrokenError);
});
