import { describe, expect, it } from 'vitest';
import { digestOf, type Digest } from '../../src/oci/digest.ts';
import { BlobStoreError, type BlobPart, type BlobStore } from '../../src/store/blobs.ts';

const CONTENT = Buffer.from('the bytes of a blob, which are more than a few');
const DIGEST = digestOf(CONTENT);

/** What every blob store promises; `open` gives an empty one that holds `maxBytes` at the most. */
export function blobStoreContract(name: string, openEmpty: (maxBytes: number) => Promise<BlobStore>): void {
  const store = () => openEmpty(1_000_000);

  describe(`${name}, as a blob store,`, () => {
    it('knows nothing at first', async () => {
      const blobs = await store();
      expect(await blobs.stat(DIGEST)).toBeUndefined();
      expect(await blobs.open(DIGEST)).toBeUndefined();
      expect(blobs.totals()).toEqual({ blobs: 0, bytes: 0 });
    });

    it('keeps what was committed', async () => {
      const blobs = await store();
      await keep(blobs, DIGEST, CONTENT);
      expect(await blobs.stat(DIGEST)).toEqual({ size: CONTENT.length });
      expect(await contentOf(blobs, DIGEST)).toEqual(CONTENT);
      expect(blobs.totals()).toEqual({ blobs: 1, bytes: CONTENT.length });
    });

    it('keeps digests of sha512 apart from those of sha256', async () => {
      const blobs = await store();
      const long = digestOf(CONTENT, 'sha512');
      await keep(blobs, long, CONTENT);
      expect(await contentOf(blobs, long)).toEqual(CONTENT);
      expect(await blobs.stat(DIGEST)).toBeUndefined();
    });

    it('reads a part back before it is committed, at any offset', async () => {
      const part = await (await store()).createPart(DIGEST, CONTENT.length);
      await part.write([CONTENT.subarray(0, 4), CONTENT.subarray(4, 10)], 0);
      const buffer = Buffer.alloc(6);
      expect(await part.read(buffer, 6, 3)).toBe(6);
      expect(buffer).toEqual(CONTENT.subarray(3, 9));
      await part.close();
    });

    it('does not serve a part before it is committed', async () => {
      const blobs = await store();
      const part = await blobs.createPart(DIGEST, CONTENT.length);
      await part.write([CONTENT], 0);
      expect(await blobs.stat(DIGEST)).toBeUndefined();
      expect(await blobs.open(DIGEST)).toBeUndefined();
      await part.close();
    });

    it('needs room for the rest of what was kept, and none for what it holds already', async () => {
      const blobs = await openEmpty(60);
      await keepStart(blobs, 40);
      const part = await blobs.createPart(DIGEST, CONTENT.length);
      expect(part.kept).toEqual([{ start: 0, end: 40 }]);
      await part.close();
    });

    it('leaves what was kept where it is when there is no room for the rest now, or never', async () => {
      const blobs = await openEmpty(60);
      await keepStart(blobs, 20);
      const held = await blobs.createPart(digestOf(Buffer.from('other')), 40);
      await expect(blobs.createPart(DIGEST, CONTENT.length)).rejects.toMatchObject({ code: 'no-space' });
      const huge = blobs.createPart(digestOf(Buffer.from('huge')), 61);
      await expect(huge).rejects.toMatchObject({ code: 'no-space' });
      await held.close();
      const part = await blobs.createPart(DIGEST, CONTENT.length);
      expect(part.kept).toEqual([{ start: 0, end: 20 }]);
      await part.close();
    });

    it('gives up what was kept longest for who needs its room, and no more than that', async () => {
      const blobs = await openEmpty(100);
      const kept = ['first', 'second', 'third'].map((text) => Buffer.from(text.padEnd(20)));
      for (const content of kept) {
        const part = await blobs.createPart(digestOf(content), 30);
        await part.write([content], 0);
        await part.keep([{ start: 0, end: 20 }]);
        await part.close();
      }
      const part = await blobs.createPart(DIGEST, 60);
      expect(kept.map((content) => blobs.keptPart(digestOf(content)) !== undefined)).toEqual([
        false,
        true,
        true,
      ]);
      await part.close();
    });

    it('keeps what it has of a blob when somebody tells another size of it, until the blob is stored', async () => {
      const blobs = await store();
      await keepStart(blobs, 30);
      const wrong = await blobs.createPart(DIGEST, 10);
      expect(wrong.kept).toEqual([]);
      await wrong.write([CONTENT.subarray(0, 5)], 0);
      await wrong.keep([{ start: 0, end: 5 }]);
      await wrong.close();
      expect(blobs.keptPart(DIGEST)).toMatchObject({
        size: CONTENT.length,
        written: [{ start: 0, end: 30 }],
      });
      const other = await blobs.createPart(DIGEST, 10);
      await other.write([CONTENT], 0);
      await other.commit(CONTENT.length);
      await other.close();
      expect(blobs.keptPart(DIGEST)).toBeUndefined();
    });

    it('stops hashing when it is told to, and can go on from there', async () => {
      const part = await (await store()).createPart(DIGEST, CONTENT.length);
      await part.write([CONTENT], 0);
      const reason = new Error('enough');
      await expect(part.hashTo(CONTENT.length, AbortSignal.abort(reason))).rejects.toBe(reason);
      await part.hashTo(CONTENT.length);
      expect(await part.isRight()).toBe(true);
      await part.close();
    });

    it('gives the room of what was kept to others if there is none for the rest', async () => {
      const blobs = await openEmpty(60);
      await keepStart(blobs, 40);
      const other = await blobs.createPart(digestOf(Buffer.from('other')), 20);
      await expect(blobs.createPart(DIGEST, CONTENT.length)).rejects.toMatchObject({ code: 'no-space' });
      await other.close();
      const whole = await blobs.createPart(digestOf(Buffer.from('third')), 60);
      await whole.close();
    });

    it('lets readers of a part go on after its commit and after its removal', async () => {
      const blobs = await store();
      const part = await blobs.createPart(DIGEST, CONTENT.length);
      await part.write([CONTENT], 0);
      await part.commit(CONTENT.length);
      await blobs.remove(DIGEST);
      expect(await readAll(part, CONTENT.length)).toEqual(CONTENT);
      await part.close();
    });

    it('lets readers of a discarded part go on, and keeps nothing of it', async () => {
      const blobs = await store();
      const part = await blobs.createPart(DIGEST, CONTENT.length);
      await part.write([CONTENT], 0);
      await part.discard();
      expect(await readAll(part, CONTENT.length)).toEqual(CONTENT);
      expect(await blobs.open(DIGEST)).toBeUndefined();
      await part.close();
    });

    it('reads an opened blob to its end although it is removed meanwhile', async () => {
      const blobs = await store();
      await keep(blobs, DIGEST, CONTENT);
      const opened = await blobs.open(DIGEST);
      await blobs.remove(DIGEST);
      const buffer = Buffer.alloc(CONTENT.length);
      expect(await opened?.read(buffer, CONTENT.length, 0)).toBe(CONTENT.length);
      expect(buffer).toEqual(CONTENT);
      await opened?.close();
      expect(await blobs.stat(DIGEST)).toBeUndefined();
      expect(blobs.totals()).toEqual({ blobs: 0, bytes: 0 });
    });

    it('reads nothing beyond the end', async () => {
      const blobs = await store();
      await keep(blobs, DIGEST, CONTENT);
      const opened = await blobs.open(DIGEST);
      expect(await opened?.read(Buffer.alloc(8), 8, CONTENT.length)).toBe(0);
      await opened?.close();
    });

    it('counts a blob once, however often it is committed', async () => {
      const blobs = await store();
      await Promise.all([keep(blobs, DIGEST, CONTENT), keep(blobs, DIGEST, CONTENT)]);
      expect(blobs.totals()).toEqual({ blobs: 1, bytes: CONTENT.length });
    });

    it('writes many chunks at once', async () => {
      const blobs = await store();
      const chunks = Array.from({ length: 3000 }, (_, index) => Buffer.from(`${index},`));
      const whole = Buffer.concat(chunks);
      const part = await blobs.createPart(digestOf(whole), whole.length);
      await part.write(chunks, 0);
      expect(await readAll(part, whole.length)).toEqual(whole);
      await part.close();
    });

    it('refuses a part that exceeds its limit, counting the parts that are growing', async () => {
      const blobs = await openEmpty(100);
      const part = await blobs.createPart(DIGEST, 60);
      await expect(blobs.createPart(digestOf(Buffer.from('other')), 60)).rejects.toMatchObject({
        code: 'no-space',
      });
      await expect(blobs.createPart(digestOf(Buffer.from('other')), 60)).rejects.toBeInstanceOf(
        BlobStoreError,
      );
      await part.discard();
      const again = await blobs.createPart(digestOf(Buffer.from('other')), 60);
      await again.close();
      await part.close();
    });
  });
}

/** Leaves the first bytes of the blob to a later part. */
async function keepStart(blobs: BlobStore, bytes: number): Promise<void> {
  const part = await blobs.createPart(DIGEST, CONTENT.length);
  await part.write([CONTENT.subarray(0, bytes)], 0);
  await part.keep([{ start: 0, end: bytes }]);
  await part.close();
}

export async function keep(blobs: BlobStore, digest: Digest, content: Buffer): Promise<void> {
  const part = await blobs.createPart(digest, content.length);
  await part.write([content], 0);
  await part.commit(content.length);
  await part.close();
}

export async function contentOf(blobs: BlobStore, digest: Digest): Promise<Buffer | undefined> {
  const opened = await blobs.open(digest);
  if (opened === undefined) return undefined;
  const buffer = Buffer.alloc(opened.size);
  await opened.read(buffer, opened.size, 0);
  await opened.close();
  return buffer;
}

async function readAll(part: BlobPart, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  expect(await part.read(buffer, length, 0)).toBe(length);
  return buffer;
}
