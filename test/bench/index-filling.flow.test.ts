import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { testFolder } from '../support/temp.ts';
import { pierhead } from './contestants.ts';
import { fillIndex, indexedImage } from './index-filling.ts';
import { fetchVerified } from './load.ts';

it('fills an index from which a server answers without upstream', async () => {
  const root = fileURLToPath(new URL('../..', import.meta.url));
  const folder = await testFolder();
  const shape = { blobs: 3, blobBytes: 1000, usedAt: Date.now() };
  const images = [1, 2, 3].map((number) => indexedImage(number, shape));
  await fillIndex({ root, dataDir: join(folder, 'data'), images, withBlobs: false });
  const server = await pierhead({ root, node: process.execPath }).start({
    upstreamUrl: 'http://127.0.0.1:9',
    folder,
  });
  try {
    for (const { repository, digest } of images) {
      await fetchVerified(`${server.url}/v2/${repository}/manifests/${digest}`, digest);
    }
    expect(server.ending).toBeUndefined();
  } finally {
    await server.stop();
  }
});
