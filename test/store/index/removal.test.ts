import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { manifestOf } from '../../../src/oci/manifest.ts';
import { removeManifest, nothingRemoved } from '../../../src/store/index/removal.ts';
import { openIndex, createReferrersStore } from '../../../src/store/manifest/lmdb.ts';
import { PLAIN } from '../../support/filled-hub.ts';
import { testFolder } from '../../support/temp.ts';
import { tellTo } from '../../support/told.ts';

const repository = { host: 'docker.io', name: 'library/plain' };
const other = { host: 'docker.io', name: 'acme/plain' };
const manifest = PLAIN.image.root;
const ROOM_BYTES = 1000;
const record = { bytes: Buffer.from('{"manifests":[]}'), confirmedAt: 1 };

it('lists of referrers stay for as long as the manifest that they are about, if there is room for them', async () => {
  const index = openIndex(join(await testFolder(), 'index'));
  onTestFinished(() => index.close());
  const store = createReferrersStore({
    tables: index.tables,
    tell: tellTo({ indexFailed: ({ error }) => expect.unreachable(String(error)) }),
    hasRoom: (bytes) => bytes < ROOM_BYTES,
  });
  await store.putReferrers(repository, manifest.digest, record);
  expect(store.getReferrers(repository, manifest.digest)).toBeUndefined();
  await index.putManifest(manifestOf(manifest));
  await store.putReferrers(repository, manifest.digest, record);
  await store.putReferrers(other, manifest.digest, record);
  expect(store.getReferrers(repository, manifest.digest)).toEqual(record);
  await store.putReferrers(repository, manifest.digest, { ...record, bytes: Buffer.alloc(ROOM_BYTES) });
  expect(store.getReferrers(repository, manifest.digest)).toEqual(record);
  await store.deleteReferrers(other, manifest.digest);
  expect(store.getReferrers(other, manifest.digest)).toBeUndefined();
  await store.putReferrers(other, manifest.digest, record);
  await index.tables.environment.write(() => {
    removeManifest(index.tables, manifest.digest, nothingRemoved());
  });
  for (const each of [repository, other]) {
    expect(store.getReferrers(each, manifest.digest)).toBeUndefined();
  }
});
