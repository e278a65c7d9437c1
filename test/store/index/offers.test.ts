import { expect, it } from 'vitest';
import { digestOf } from '../../../src/oci/digest.ts';
import { PullRules, TagScope } from '../../../src/mirror/access/rules.ts';
import { BlobLeases } from '../../../src/store/blob/leases.ts';
import { LocalStore } from '../../../src/store/manifest/local.ts';
import { Sweep } from '../../../src/store/space/sweep.ts';
import { APP, imageManifest, openTestSpace } from '../../support/space.ts';
import { eventually } from '../../support/wait.ts';
import { tellNobody, tellTo } from '../../support/told.ts';

const DAY = 24 * 60 * 60_000;
const OTHER = { host: 'docker.io', name: 'library/other' };

it('an offer goes with the last index that names the digest, unless the manifest is here', async () => {
  const test = await openTestSpace({ blobLimit: 1000 });
  const missing = imageManifest('missing', []);
  const held = await test.addImage({ name: 'held', blobs: [], tag: 'held' });
  const first = await test.addIndex({ of: [missing, held], tag: 'first' });
  await test.addIndex({ of: [missing], attestations: [{ manifest: held, of: missing }], tag: 'second' });
  for (const repository of [APP, OTHER])
    await test.index.putOffers(repository, [
      first.descriptor.digest,
      missing.descriptor.digest,
      held.descriptor.digest,
    ]);
  const offered = (): boolean[] =>
    [first, missing, held].map(({ descriptor }) => test.index.isOffered(OTHER, descriptor.digest));
  await test.images.remove(APP, { kind: 'tag', tag: 'first' });
  expect(offered()).toEqual([false, true, true]);
  await test.images.remove(APP, { kind: 'tag', tag: 'second' });
  expect(offered()).toEqual([false, false, true]);
  await test.images.remove(APP, { kind: 'tag', tag: 'held' });
  expect(offered()).toEqual([false, false, false]);
});

it('an offer that nobody has followed goes by the sweep, that of what is here or named stays', async () => {
  const test = await openTestSpace({ blobLimit: 1000 });
  const missing = imageManifest('missing', []);
  const root = await test.addIndex({ of: [missing], tag: 'latest' });
  const [followed, loose] = [
    [root.descriptor.digest, missing.descriptor.digest],
    digestOf(Buffer.from('loose')),
  ];
  await test.index.putOffers(APP, [...followed, loose]);
  test.now += DAY;
  const sweep = new Sweep({
    dataDir: test.dataDir,
    tables: test.index.tables,
    leases: new BlobLeases(),
    now: () => test.now,
    takeIn: test.takeIn,
    tell: tellTo({ indexFailed: ({ error }) => expect(error).toBeUndefined() }),
    startAfterMs: 0,
  });
  sweep.start();
  await eventually(async () => !test.index.isOffered(APP, loose), 'the loose one to be forgotten');
  await sweep.close();
  for (const each of followed) expect(test.index.isOffered(APP, each)).toBe(true);
});

it('an offer that a removal took from the index is written again when it is made again', async () => {
  const test = await openTestSpace({ blobLimit: 1000 });
  const local = new LocalStore({
    index: test.index,
    maxManifestBytes: 1_000_000,
    probe: () => Promise.resolve(),
    tell: tellNobody,
  });
  const scope = new TagScope(new PullRules({ 'docker.io': { allow: ['library/app:latest'] } }), local);
  const { digest } = imageManifest('missing', []).descriptor;
  await test.addIndex({ of: [imageManifest('missing', [])], tag: 'latest' });
  await scope.offer(APP, [digest]);
  await test.images.remove(APP, { kind: 'tag', tag: 'latest' });
  expect(test.index.isOffered(APP, digest)).toBe(false);
  for (const removed of test.removed) local.forget(removed);
  await scope.offer(APP, [digest]);
  expect(test.index.isOffered(APP, digest)).toBe(true);
});
