import { describe, expect, it } from 'vitest';
import { takeBuffer } from '../../../src/lib/receive-buffers.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { BlobBodyError } from '../../../src/download/errors.ts';
import { DIVERTED, FillProgress } from '../../../src/download/progress.ts';
import { FillReader, StartHashes, type FillSource } from '../../../src/mirror/blob/reader.ts';
import { RecentWrites } from '../../../src/download/recent-writes.ts';

const KIB = 1024;

/** A fill that has just written 2 MiB of a larger blob. */
function runningFill(): FillSource {
  const progress = new FillProgress();
  progress.size = 8192 * KIB;
  const recent = new RecentWrites(() => 8192 * KIB);
  const written = { start: 0, end: 2048 * KIB };
  recent.add(
    written,
    Array.from({ length: 32 }, () => Buffer.alloc(64 * KIB)),
  );
  progress.wrote(written);
  return {
    digest: digestOf(Buffer.from('any')),
    progress,
    part: undefined,
    isShared: true,
    recent: (position, maxBytes) => recent.from(position, maxBytes),
    want: () => true,
    open: () => Promise.reject(new Error('asks for nothing')),
    starts: new StartHashes(),
  };
}

describe('a reader close behind its fill', () => {
  it.each([64, 256])('holds no more of what others have at once than suits its %i KiB', async (size) => {
    const reader = new FillReader({ source: runningFill(), cache: 'collapsed', onClose: () => undefined });
    const buffer = Buffer.alloc(size * KIB);
    const section = reader.section({ start: 0, end: 8192 * KIB });
    for (let piece = 0; piece < 2; piece++) {
      const bytes = (await section.read(buffer)).reduce((sum, { length }) => sum + length, 0);
      expect(bytes).toBe(4 * size * KIB);
    }
    reader.close();
  });

  it('lends what it gives until the read after the next one, whatever the fill drops', async () => {
    const recent = new RecentWrites(() => 0);
    const reader = new FillReader({
      source: { ...runningFill(), recent: (position, maxBytes) => recent.from(position, maxBytes) },
      cache: 'collapsed',
      onClose: () => undefined,
    });
    const section = reader.section({ start: 0, end: 8192 * KIB });
    const given: Buffer[] = [];
    const write = async (index: number): Promise<Buffer> => {
      const bytes = takeBuffer().fill(index);
      recent.add({ start: index * bytes.length, end: (index + 1) * bytes.length }, [bytes]);
      given.push(...(await section.read(Buffer.alloc(256 * KIB))));
      return bytes;
    };
    const [first, second, third] = [await write(0), await write(1), await write(2)];
    // The first has been sent by now, and its memory is free; the others are being sent.
    expect(takeBuffer().fill(9).buffer).toBe(first.buffer);
    expect([second.buffer, third.buffer]).not.toContain(takeBuffer().fill(9).buffer);
    expect(given.map((piece) => new Set(piece))).toEqual([new Set([9]), new Set([1]), new Set([2])]);
    reader.close();
  });
});

describe('a reader of a blob that came empty', () => {
  const empty = (): FillSource => {
    const progress = new FillProgress();
    progress.size = 0;
    return { ...runningFill(), progress };
  };
  const readerOf = (source: FillSource) =>
    new FillReader({ source, cache: 'stored', onClose: () => undefined }).section({ start: 0, end: 0 });

  it('has nothing before it is verified', async () => {
    const source = empty();
    const reading = readerOf(source).read(Buffer.alloc(KIB));
    source.progress.verify(0);
    expect(await reading).toEqual([]);
  });

  it('is told if it is wrong, and does not take nothing for the blob', async () => {
    const source = empty();
    const reading = readerOf(source).read(Buffer.alloc(KIB));
    source.progress.fail(new BlobBodyError('corrupt', 'not what it should be'));
    await expect(reading).rejects.toThrow('not what it should be');
  });

  it('has it from elsewhere if the disk fails, verified too', async () => {
    const source = empty();
    const reading = readerOf(source).read(Buffer.alloc(KIB));
    source.progress.fail(DIVERTED);
    await expect(reading).rejects.toThrow('the bytes that were received are not sha256:');
  });
});
