import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { expect, it } from 'vitest';
import { digestOf } from '../../../src/oci/digest.ts';
import { KeptParts, type KeptPart } from '../../../src/store/part/kept.ts';
import { memoryBlobIndex } from '../../support/blob-index.ts';
import { roomOf } from '../../support/room.ts';
import { testFolder } from '../../support/temp.ts';

it('keeps one part of a blob, whatever comes while another one is being removed', async () => {
  const dataDir = await testFolder();
  const folder = join(dataDir, 'parts');
  await mkdir(folder);
  const room = roomOf({ maxBytes: 1000, index: memoryBlobIndex() });
  const kept = await KeptParts.open(dataDir, room);
  const digest = digestOf(Buffer.from('part'));
  const partOf = async (bytes: number): Promise<Omit<KeptPart, 'keptAt'>> => {
    const path = join(folder, `of-${bytes}`);
    await writeFile(path, '');
    return { path, size: 10, written: [{ start: 0, end: bytes }], reservation: await room.reserve(bytes) };
  };
  const [first, second, third] = [await partOf(1), await partOf(2), await partOf(3)];
  await kept.put(digest, first);
  await Promise.all([kept.put(digest, second), kept.put(digest, third)]);
  expect(kept.get(digest)?.written).toEqual(third.written);
  expect(await readdir(folder)).toEqual([basename(third.path)]);
  kept.close();
});
