import { mkdir, readdir, truncate, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { digestHex, digestOf } from '../../src/oci/digest.ts';
import { openDiskBlobStore } from '../../src/store/blob/disk.ts';
import { BlobLeases } from '../../src/store/blob/leases.ts';
import type { BlobIndex, BlobStore } from '../../src/store/blobs.ts';
import { blobPath } from '../../src/store/part/layout.ts';
import { memoryBlobIndex } from '../support/blob-index.ts';
import { roomOf } from '../support/room.ts';
import { testFolder } from '../support/temp.ts';
import { tellNobody } from '../support/told.ts';
import { blobStoreContract, contentOf, keep } from './blobs.contract.ts';

const CONTENT = Buffer.from('what a layer holds');
const DIGEST = digestOf(CONTENT);

blobStoreContract('the disk', async (maxBytes) =>
  openTestStore(await testFolder(), memoryBlobIndex(), maxBytes),
);

async function openTestStore(dataDir: string, index: BlobIndex, maxBytes: number): Promise<BlobStore> {
  const room = roomOf({ maxBytes, index });
  const blobs = await openDiskBlobStore({ dataDir, index, room, leases: new BlobLeases(), tell: tellNobody });
  onTestFinished(() => blobs.close());
  return blobs;
}

describe('the disk', () => {
  const setUp = async () => {
    const dataDir = await testFolder();
    const index = memoryBlobIndex();
    const open = () => openTestStore(dataDir, index, 1_000_000);
    return { dataDir, index, open };
  };

  it('keeps a blob at blobs/<algorithm>/<2 hex>/<hex>', async () => {
    const { dataDir, open } = await setUp();
    await keep(await open(), DIGEST, CONTENT);
    const hex = digestHex(DIGEST);
    expect(blobPath(dataDir, DIGEST)).toBe(join(dataDir, 'blobs', 'sha256', hex.slice(0, 2), hex));
    expect(await readdir(dirname(blobPath(dataDir, DIGEST)))).toEqual([hex]);
    expect(await readdir(join(dataDir, 'parts'))).toEqual([]);
  });

  it('adopts a right file that the index does not know, and removes a wrong one', async () => {
    const { dataDir, index, open } = await setUp();
    const blobs = await open();
    const wrong = digestOf(Buffer.from('something else'));
    for (const digest of [DIGEST, wrong]) {
      await mkdir(dirname(blobPath(dataDir, digest)), { recursive: true });
      await writeFile(blobPath(dataDir, digest), CONTENT);
    }
    expect(await contentOf(blobs, DIGEST)).toEqual(CONTENT);
    expect(index.getBlob(DIGEST)).toEqual({ size: CONTENT.length });
    expect(await blobs.stat(wrong)).toBeUndefined();
    expect(await readdir(dirname(blobPath(dataDir, wrong)))).toEqual([]);
  });

  it('takes a blob whose file is gone or cut short for a miss, and forgets it', async () => {
    const { dataDir, index, open } = await setUp();
    const blobs = await open();
    await keep(blobs, DIGEST, CONTENT);
    await truncate(blobPath(dataDir, DIGEST), 5);
    expect(await blobs.open(DIGEST)).toBeUndefined();
    expect(index.getBlob(DIGEST)).toBeUndefined();
    await index.putBlob(DIGEST, { size: CONTENT.length });
    expect(await blobs.stat(DIGEST)).toBeUndefined();
    expect(index.getBlob(DIGEST)).toBeUndefined();
  });

  it('removes parts that an earlier process left behind', async () => {
    const { dataDir, open } = await setUp();
    const part = await (await open()).createPart(DIGEST, CONTENT.length);
    await part.write([CONTENT], 0);
    expect(await readdir(join(dataDir, 'parts'))).toHaveLength(1);
    await open();
    expect(await readdir(join(dataDir, 'parts'))).toEqual([]);
    await part.close();
  });
});
