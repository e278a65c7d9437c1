import { describe, expect, it } from 'vitest';
import { deferred } from '../../src/lib/promises.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { sectionOf } from '../../src/mirror/blob/reader.ts';
import { upstreamBytes } from '../../src/download/source.ts';
import type { BlobStream, Outcome } from '../../src/upstream/upstream.ts';

const BYTES = Buffer.from('the bytes of a blob');

/** An answer from `offset` on, and whether it was closed. */
function answer(offset = 0): { readonly stream: BlobStream; readonly state: { isClosed: boolean } } {
  const state = { isClosed: false };
  async function* body(): AsyncGenerator<Buffer, void> {
    yield BYTES.subarray(offset);
  }
  const close = () => {
    state.isClosed = true;
  };
  return { stream: { offset, totalSize: BYTES.length, body: body(), isDecoded: false, close }, state };
}

describe('the bytes of a blob from upstream', () => {
  it('leave no connection open if the reader goes away before upstream has answered', async () => {
    const asked = deferred<Outcome<BlobStream>>();
    const reader = new AbortController();
    const chunks = upstreamBytes({
      digest: digestOf(BYTES),
      start: 0,
      limit: () => BYTES.length,
      open: () => asked.promise,
      signal: reader.signal,
      maySkip: () => true,
    });
    const reading = sectionOf(chunks, reader.signal).read(Buffer.alloc(100));
    reader.abort();
    const { stream, state } = answer();
    asked.resolve({ kind: 'ok', value: stream });
    await expect(reading).rejects.toMatchObject({ code: 'broken' });
    expect(state.isClosed).toBe(true);
  });

  it.each([
    ['nothing is missing', 0, false],
    ['the reader has gone', BYTES.length, true],
  ])('leave the first answer closed if %s', async (_why, size, isGone) => {
    const reader = new AbortController();
    if (isGone) reader.abort();
    const { stream, state } = answer();
    const chunks = upstreamBytes({
      digest: digestOf(BYTES),
      start: 0,
      limit: () => size,
      open: () => Promise.reject(new Error('it was asked already')),
      first: stream,
      signal: reader.signal,
      maySkip: () => true,
    });
    expect((await chunks.next()).done).toBe(true);
    expect(state.isClosed).toBe(true);
  });
});
