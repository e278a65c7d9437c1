import { readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { FakeHub } from '../../fake/hub.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { runCommand } from '../../support/command.ts';
import { filledHub, PLAIN, served } from '../../support/filled-hub.ts';
import { makePipe } from '../../support/pipe.ts';
import { indexFile, PAGE_BYTES, patchIndex, rewriteIndex } from '../../support/raw-index.ts';
import { readiness } from '../../support/reach.ts';
import { eventually } from '../../support/wait.ts';

const TAG = '/v2/library/plain/manifests/latest';
const BLOBS = PLAIN.image.layers.map(({ digest }) => `/v2/library/plain/blobs/${digest}`);

const damagedIndexes = async (dataDir: string) =>
  (await readdir(dataDir)).filter((name) => name.startsWith('index.damaged-')).sort();

async function pullAll(app: TestApp): Promise<void> {
  expect((await app.get(TAG)).status).toBe(200);
  for (const target of BLOBS) expect((await app.get(target)).status).toBe(200);
}

/** A mirror that has one image, and is down. */
async function filledDataDir(): Promise<{ readonly hub: FakeHub; readonly dataDir: string }> {
  const hub = await filledHub();
  const app = await startTestApp({ hub });
  await pullAll(app);
  await app.stop();
  hub.reset();
  return { hub, dataDir: app.dataDir };
}

describe('an index that was damaged while the server was down', () => {
  it.each([
    [
      'cut in half',
      (dataDir: string) => rewriteIndex(dataDir, (bytes) => bytes.subarray(0, bytes.length / 2)),
    ],
    ['cut within a page', (dataDir: string) => truncate(indexFile(dataDir), 3 * PAGE_BYTES + 7)],
    ['full of zeros', (dataDir: string) => rewriteIndex(dataDir, (bytes) => bytes.fill(0))],
    ['a text', (dataDir: string) => writeFile(indexFile(dataDir), 'hello')],
    ['a pipe', (dataDir: string) => rm(indexFile(dataDir)).then(() => makePipe(indexFile(dataDir)))],
    ['a file where its folder should be', (dataDir: string) => replaceFolder(dataDir)],
  ])(
    '(%s) is set aside and told, and clients are served out of the blobs that are there',
    async (_how, damage) => {
      const { hub, dataDir } = await filledDataDir();
      await damage(dataDir);
      const app = await startTestApp({ hub, dataDir, now: () => Date.parse('2026-11-30T20:40:00Z') });
      expect(await readiness(app)).toMatchObject({
        status: 'degraded',
        degraded: ['index'],
        reasons: { index: expect.stringContaining('the index is new') as string },
      });
      await pullAll(app);
      expect(hub.count({ kind: 'blob', method: 'GET' })).toBe(0);
      expect(served(hub, { kind: 'manifest', method: 'GET' })).toBe(1);
      const [name = ''] = await damagedIndexes(dataDir);
      expect(name).toBe('index.damaged-2026-11-30T20-40-00Z');
      const line = app.log.find(({ msg }) => msg === 'damaged index set aside');
      expect(line).toMatchObject({
        level: 50,
        keptAs: join(dataDir, name),
        reason: expect.any(String) as string,
      });
      await app.stop();
      const next = await startTestApp({ hub, dataDir });
      await pullAll(next);
      expect(hub.count({ kind: 'blob', method: 'GET' })).toBe(0);
      expect(served(hub, { kind: 'manifest', method: 'GET' })).toBe(1);
      expect(await damagedIndexes(dataDir)).toEqual([name]);
      expect(await readiness(next)).toEqual({ status: 'ready' });
    },
  );

  it('is one of the last two that are kept', async () => {
    const { hub, dataDir } = await filledDataDir();
    for (const second of [1, 2, 3, 3]) {
      await writeFile(indexFile(dataDir), 'hello');
      const now = Date.parse(`2026-11-30T20:40:0${second}Z`);
      await (await startTestApp({ hub, dataDir, now: () => now })).stop();
    }
    expect(await damagedIndexes(dataDir)).toEqual([
      'index.damaged-2026-11-30T20-40-03Z',
      'index.damaged-2026-11-30T20-40-03Z-2',
    ]);
  });

  it('is one plain sentence to a command that only reads it', async () => {
    const { hub, dataDir } = await filledDataDir();
    await truncate(indexFile(dataDir), 5 * PAGE_BYTES);
    for (const args of [['images'], ['lock'], ['export', '-o', join(dataDir, 'out.tar')]]) {
      const { status, stdout, stderr } = await runCommand(args, { dataDir, upstreamUrl: hub.url });
      expect([status, stdout.toString(), stderr.trim().split('\n')]).toEqual([
        1,
        '',
        [
          expect.stringMatching(
            /^(pierhead: )?the index at .* is damaged: .*; restart pierhead to rebuild it$/,
          ),
        ],
      ]);
    }
  });
});

/** As a disk does that gives back what was never written: no page is what its tables say any more. */
async function spoilPages(dataDir: string): Promise<void> {
  const { length } = await readFile(indexFile(dataDir));
  const pages = Array.from({ length: length / PAGE_BYTES - 2 }, (_, at) => at + 2);
  await patchIndex(
    dataDir,
    pages.map((page) => [page * PAGE_BYTES + 18, Buffer.alloc(2)] as const),
  );
}

describe('an index that is damaged while the server runs', () => {
  it('costs no client an answer, is told once, and is set aside by the next start', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub, flags: { tagTtl: '1h' } });
    await pullAll(app);
    await app.get('/v2/library/golang/manifests/latest');
    // LMDB says on the standard error what it has found.
    await spoilPages(app.dataDir);
    await pullAll(app);
    expect((await app.get('/v2/library/golang/manifests/latest')).status).toBe(200);
    const cold = await app.get('/v2/library/golang/tags/list');
    expect(cold.status).toBe(200);
    await pullAll(app);
    const reasons = { index: expect.stringContaining('restart pierhead') as string };
    await eventually(async () => (await readiness(app))['reasons'] !== undefined, 'the damage to be found');
    expect(await readiness(app)).toMatchObject({ status: 'degraded', reasons });
    expect(app.log.filter(({ msg }) => msg === 'index damaged, restart needed')).toHaveLength(1);
    const { dataDir } = app;
    await app.stop();
    const next = await startTestApp({ hub, dataDir });
    await pullAll(next);
    expect(await damagedIndexes(dataDir)).toHaveLength(1);
  });

  it('works on when its folder is removed, which is told', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    await pullAll(app);
    await rm(join(app.dataDir, 'index'), { recursive: true });
    await app.get('/v2/library/golang/manifests/latest');
    await pullAll(app);
    await eventually(async () => (await readiness(app))['reasons'] !== undefined, 'it to be missed');
    expect((await readiness(app))['reasons']).toEqual({
      index: 'the index is damaged (its file was removed); restart pierhead to make a new one',
    });
    expect((await app.get(BLOBS[0] ?? '')).header('cache-status')).toBe('pierhead; hit');
    const { dataDir } = app;
    await app.stop();
    hub.reset();
    const next = await startTestApp({ hub, dataDir });
    await pullAll(next);
    expect(hub.count({ kind: 'blob', method: 'GET' })).toBe(0);
  });
});

async function replaceFolder(dataDir: string): Promise<void> {
  await rm(join(dataDir, 'index'), { recursive: true });
  await writeFile(join(dataDir, 'index'), 'hello');
}
