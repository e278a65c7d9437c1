import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { Digest } from '../../../src/oci/digest.ts';
import { namedBy } from '../../../src/store/index/manifests.ts';
import { Sweep } from '../../../src/store/space/sweep.ts';
import { startPierhead } from '../../support/pierhead.ts';
import { openTestSpace } from '../../support/space.ts';
import { testFolder } from '../../support/temp.ts';
import { tellTo } from '../../support/told.ts';
import { eventually } from '../../support/wait.ts';

const IMAGES = 600;
const BLOB_BYTES = 8 * 1024;
const KILLS = 6;
const MIB = 1024 * 1024;

/** Images of three blobs each, two of which every tenth shares with the next. */
async function fill(dataDir: string): Promise<void> {
  const test = await openTestSpace({ blobLimit: 1024 * MIB, dataDir });
  const { environment } = test.index.tables;
  const write = environment.write.bind(environment);
  for (let at = 0; at < IMAGES; at++) {
    const names = [`own-${at}`, `first-${Math.floor(at / 10)}`, `second-${Math.floor(at / 10)}`];
    const blobs = [];
    for (const name of names) {
      const digest = await test.addContent(Buffer.alloc(BLOB_BYTES, name));
      blobs.push({ digest, size: BLOB_BYTES });
    }
    await test.addImage({ name: `${at}`, blobs, tag: `tag-${at}` });
    test.now += 1000;
  }
  await write(() => undefined);
  await test.close();
}

describe('a server that is killed while it evicts', () => {
  it('leaves no image half, and no file that nobody counts: what it was about to remove is taken in again', async () => {
    const dataDir = await testFolder();
    await fill(dataDir);
    const settings = { SCRUB_INTERVAL: 'off' };
    // Each start has a little more to evict than the one before, and no time to end it.
    for (let kill = 1; kill <= KILLS; kill++) {
      const cacheSize = String(Math.floor(9 * MIB - kill * 0.6 * MIB));
      const server = await startPierhead({
        upstreamUrl: 'http://127.0.0.1:9',
        dataDir,
        settings: { ...settings, CACHE_SIZE: cacheSize },
      });
      await sleep(Math.random() * 60);
      await server.kill();
      await server.close();
    }
    await requireWhole(dataDir);
  }, 60_000);
});

async function requireWhole(dataDir: string): Promise<void> {
  const test = await openTestSpace({ blobLimit: 1024 * MIB, dataDir });
  const { manifests, blobs } = test.index.tables;
  const indexed = blobs.page(10_000);
  const files = await test.files();
  // Entries without a file would be misses; here every one has its file, for entries go first.
  expect(indexed.filter((digest) => !files.includes(digest))).toEqual([]);
  const stored = manifests.page(10_000);
  expect(stored.length).toBeLessThan(IMAGES);
  const lost = (digest: Digest) =>
    [...namedBy(manifests.content(digest) ?? { kind: 'index', entries: [] })].filter(
      (each) => blobs.size(each) === undefined,
    );
  expect(stored.flatMap(lost)).toEqual([]);
  expect(test.index.blobTotals()).toEqual({ blobs: indexed.length, bytes: indexed.length * BLOB_BYTES });
  const sweep = new Sweep({
    dataDir,
    tables: test.index.tables,
    leases: test.space.leases,
    now: () => test.now,
    takeIn: test.takeIn,
    tell: tellTo({
      indexFailed: ({ error }) => {
        throw error;
      },
    }),
    startAfterMs: 0,
  });
  onTestFinished(() => sweep.close());
  sweep.start();
  await eventually(
    async () => (await test.files()).length === test.index.blobTotals().blobs,
    'the rest to be taken in',
  );
  expect(await test.files()).toEqual(files);
  expect(blobs.page(10_000)).toEqual(files);
}
