import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { IndexEnvironment } from '../../../src/store/index/environment.ts';
import { openTable } from '../../../src/store/index/table.ts';
import { LocalStore } from '../../../src/store/manifest/local.ts';
import { openIndex } from '../../../src/store/manifest/lmdb.ts';
import { startTestApp } from '../../support/app.ts';
import { filledHub, GOLANG, PLAIN } from '../../support/filled-hub.ts';
import { metric } from '../../support/metrics.ts';
import { readiness } from '../../support/reach.ts';
import { smallDisk } from '../../support/small-disk.ts';
import { openTestSpace } from '../../support/space.ts';
import { testFolder } from '../../support/temp.ts';
import { tellTo } from '../../support/told.ts';
import { eventually } from '../../support/wait.ts';
import { GOLANG as REPOSITORY, manifest } from '../manifests.contract.ts';

const MIB = 1024 * 1024;
const DAY = 24 * 60 * 60 * 1000;

/** Fills a disk to its last byte; resolves to what makes room again. */
async function fillUp(dataDir: string): Promise<() => Promise<void>> {
  const path = join(dataDir, 'filler');
  await writeFile(path, Buffer.alloc(64 * MIB, 1)).catch(() => undefined);
  return () => rm(path);
}

describe('a disk with no room for the index', () => {
  it('costs no client an answer: what is learnt is kept in memory, told, and written when there is room', async () => {
    const hub = await filledHub();
    const { dataDir } = await smallDisk(16 * MIB, { index: 'inside' });
    const app = await startTestApp({ hub, dataDir, flags: { cacheSize: '1GiB' } });
    await app.get('/v2/library/plain/manifests/latest');
    const makeRoom = await fillUp(dataDir);
    const target = '/v2/library/golang/manifests/latest';
    expect((await app.get(target)).body).toEqual(GOLANG.image.root.bytes);
    expect((await app.get(target)).header('cache-status')).toBe('pierhead; hit');
    const layer = `/v2/library/plain/blobs/${PLAIN.image.layers[0]?.digest}`;
    const blob = await app.get(layer);
    expect([blob.status, blob.header('cache-status')]).toEqual([200, 'pierhead; fwd=bypass']);
    expect(await readiness(app)).toEqual({ status: 'degraded', degraded: ['disk full', 'index'] });
    expect(await metric(app, 'pierhead_index_errors_total', 'kind="no-space"')).toBeGreaterThan(0);
    await makeRoom();
    await eventually(async () => (await readiness(app))['status'] === 'ready', 'the disk to be used again');
    expect((await app.get(target)).header('cache-status')).toBe('pierhead; hit');
    await app.stop();
    await hub.stop();
    const next = await startTestApp({ hub, dataDir, flags: { cacheSize: '1GiB' } });
    const { digest } = GOLANG.image.root;
    const kept = openIndex(join(next.dataDir, 'index'), { readOnly: true });
    expect(kept.tables.manifests.has(digest)).toBe(true);
    await kept.close();
  });

  it('has blobs evicted all the same, files before entries, when others have filled it', async () => {
    const { dataDir } = await smallDisk(16 * MIB, { index: 'inside' });
    const test = await openTestSpace({ limit: { bytes: 1024 * MIB }, dataDir });
    for (const name of ['one', 'two', 'three']) {
      const blob = { digest: await test.addBlob(name, 2 * MIB), size: 2 * MIB };
      await test.addImage({ name, blobs: [blob], tag: name });
      test.now += DAY;
    }
    await fillUp(dataDir);
    await test.want(MIB);
    expect(await test.index.listTags({ host: 'docker.io', name: 'library/app' })).toEqual(['three', 'two']);
    expect(await test.files()).toHaveLength(2);
    await expect(test.want(7 * MIB)).rejects.toMatchObject({ code: 'no-space' });
    expect(test.space.isCramped).toBe(true);
  });

  it('does not harm it, even when it runs into the end itself', async () => {
    const { dataDir } = await smallDisk(4 * MIB, { index: 'inside' });
    const environment = new IndexEnvironment(join(dataDir, 'index'), { readOnly: false });
    const table = openTable<string, string>(environment, 'test');
    const put = (key: string) => environment.write(() => table.put(key, key.repeat(400)), { frees: true });
    let kept = 0;
    const fillIt = async (): Promise<void> => {
      for (; ; kept++) await put(`key-${kept}`);
    };
    await expect(fillIt()).rejects.toMatchObject({ name: 'IndexWriteError', code: 'no-space' });
    await expect(put('another')).rejects.toMatchObject({ name: 'IndexWriteError' });
    await expect(environment.write(() => undefined)).rejects.toMatchObject({ code: 'no-space' });
    expect(table.get('key-0')).toBe('key-0'.repeat(400));
    expect(table.get(`key-${kept - 1}`)).toBe(`key-${kept - 1}`.repeat(400));
    await environment.close();
  });
});

describe('a disk that fails the index', () => {
  it.each([
    ['EIO', 5],
    ['EROFS', 30],
  ])('with %s is a miss, told once, and used again when it works', async (_name, code) => {
    const index = openIndex(join(await testFolder(), 'index'));
    const errors: unknown[] = [];
    const changes: boolean[] = [];
    const store = new LocalStore({
      index,
      // So little that memory answers nothing.
      maxManifestBytes: 1,
      probe: () => index.probe(),
      tell: tellTo({
        indexFailed: ({ error }) => errors.push(error),
        indexHealth: ({ isFailing }) => changes.push(isFailing),
      }),
    });
    await store.putManifest(manifest('a'));
    const failing = vi
      .spyOn(index.tables.environment.root, 'transaction')
      .mockRejectedValue(Object.assign(new Error('faked'), { code }));
    await store.putManifest(manifest('b'));
    await store.putLinks(REPOSITORY, new Map([[manifest('a').descriptor.digest, { by: 'upstream' }]]));
    expect(store.getManifest(manifest('b').descriptor.digest)).toBeUndefined();
    expect(store.getManifest(manifest('a').descriptor.digest)).toEqual(manifest('a'));
    expect(errors).toHaveLength(2);
    expect(errors[0]).toMatchObject({ name: 'IndexWriteError', code: 'failed' });
    expect([store.isFailing, changes]).toEqual([true, [true]]);
    failing.mockRestore();
    await eventually(() => !store.isFailing, 'the index to be tried again');
    await store.putManifest(manifest('b'));
    expect(store.getManifest(manifest('b').descriptor.digest)).toEqual(manifest('b'));
    expect(changes).toEqual([true, false]);
    await store.close();
  });
});
