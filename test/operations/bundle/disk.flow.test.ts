import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { image } from '../../fixtures/images.ts';
import { opaqueLayer } from '../../fixtures/tar.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { bigBlob, MIB } from '../../support/big-blob.ts';
import { exportFrom, importInto } from '../../support/bundles.ts';
import { filledHub } from '../../support/filled-hub.ts';
import { pullWhole } from '../../support/pulls.ts';
import { smallDisk } from '../../support/small-disk.ts';

const LAYERS = [81, 82].map((seed) => opaqueLayer(bigBlob({ size: MIB, seed }).content));
const LARGE = { tags: ['v1'], image: image({ message: 'large', layers: LAYERS }) };
const TARGET = '/v2/acme/large/manifests/v1';

async function bundle(): Promise<Buffer> {
  const hub = await filledHub();
  hub.add({ repository: 'acme/large', ...LARGE });
  const app = await startTestApp({ hub });
  await pullWhole(app, 'acme/large', LARGE);
  return (await exportFrom(app.dataDir)).bytes;
}

const siteOn = (dataDir: string): Promise<TestApp> =>
  startTestApp({ hub: 'http://127.0.0.1:9', dataDir, flags: { offline: true, cacheSize: '1GB' } });

it('a bundle for which the disk has no room is refused before anything is written', async () => {
  const bytes = await bundle();
  const { dataDir } = await smallDisk(1.5 * MIB);
  const app = await siteOn(dataDir);
  await expect(importInto(dataDir, bytes)).rejects.toThrow(
    /^nothing imported: the file system has no room: \d+ bytes are missing; free some space$/,
  );
  expect(await readdir(join(dataDir, 'parts'))).toEqual([]);
  expect(await readdir(join(dataDir, 'blobs')).catch(() => [])).toEqual([]);
  expect((await app.get(TARGET)).status).toBe(503);
});

it('a disk that takes nothing refuses a bundle, and takes it once it can be written again', async () => {
  const bytes = await bundle();
  const disk = await smallDisk(64 * MIB);
  const app = await siteOn(disk.dataDir);
  await disk.remount('ro');
  await expect(importInto(disk.dataDir, bytes)).rejects.toThrow(/^nothing imported: .*EROFS/);
  expect((await app.get(TARGET)).status).toBe(503);
  await disk.remount('rw');
  await importInto(disk.dataDir, bytes);
  expect((await app.get(TARGET)).status).toBe(200);
});
