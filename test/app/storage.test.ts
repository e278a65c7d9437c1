import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { Cleanup } from '../../src/app/cleanup.ts';
import { openStorage } from '../../src/app/storage.ts';
import { loadSettings } from '../../src/config/load.ts';
import { openIndex } from '../../src/store/manifest/lmdb.ts';
import { createMemoryStore } from '../../src/store/manifest/local.ts';
import type { SharedStore } from '../../src/store/redis/manifests.ts';
import { GOLANG, manifest, record } from '../store/manifests.contract.ts';
import { testFolder } from '../support/temp.ts';
import { tellNobody } from '../support/told.ts';
import { eventually } from '../support/wait.ts';

it('a tag that the fleet moves while the data directory is opened is moved in the index too', async () => {
  const dataDir = await testFolder();
  const before = openIndex(join(dataDir, 'index'));
  for (const text of ['a', 'b']) await before.putManifest(manifest(text));
  await before.putTag(GOLANG, 'latest', record('a', 1));
  await before.close();
  // Redis tells of a move the moment that it is listened to.
  const shared: SharedStore = {
    ...createMemoryStore({ maxManifestBytes: 1 }),
    close: () => Promise.resolve(),
    getManifest: () => Promise.resolve(undefined),
    getTag: () => Promise.resolve(undefined),
    getLink: () => Promise.resolve({ by: 'upstream' }),
    onTagMoved: (listener) => listener({ repository: GOLANG, tag: 'latest', record: record('b', 2) }),
  };
  const { settings } = loadSettings({ flags: { dataDir, cacheSize: '1GiB' }, env: {}, cwd: dataDir });
  const cleanup = new Cleanup();
  onTestFinished(() => cleanup.run());
  const { index } = await openStorage(
    {
      settings,
      tell: tellNobody,
      shared,
      canRefill: () => true,
      now: Date.now,
    },
    cleanup,
  );
  const moved = record('b', 2);
  await eventually(async () => index.getTag(GOLANG, 'latest')?.checkedAt === 2, 'the move');
  expect(index.getTag(GOLANG, 'latest')).toEqual(moved);
});
