import { mkdir, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { digestOf } from '../../../src/oci/digest.ts';
import { blobPath, journalPath, partsDirectory } from '../../../src/store/part/layout.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { filledHub, PLAIN } from '../../support/filled-hub.ts';
import { startPierhead } from '../../support/pierhead.ts';
import { makePipe } from '../../support/pipe.ts';
import { readiness } from '../../support/reach.ts';
import { testFolder } from '../../support/temp.ts';
import { eventually } from '../../support/wait.ts';

const [layer] = PLAIN.image.layers;
if (layer === undefined) throw new Error('the image has no layers');
const { digest } = layer;
const TARGET = `/v2/library/plain/blobs/${digest}`;

/** Right, and kept from then on. */
async function expectFetched(app: TestApp): Promise<void> {
  const fetched = await app.get(TARGET);
  expect([fetched.status, digestOf(fetched.body)]).toEqual([200, digest]);
  expect(fetched.header('cache-status')).toBe('pierhead; fwd=uri-miss; stored');
  await eventually(
    async () => (await app.get(TARGET)).header('cache-status') === 'pierhead; hit',
    'the blob to be kept',
  );
  expect((await stat(blobPath(app.dataDir, digest))).isFile()).toBe(true);
}

async function filledApp(): Promise<TestApp> {
  const app = await startTestApp({ hub: await filledHub() });
  await app.get('/v2/library/plain/manifests/latest');
  await app.get(TARGET);
  // What is in memory must not hide what became of the disk.
  await app.stop();
  return startTestApp({ hub: await filledHub(), dataDir: app.dataDir });
}

async function makeSocket(path: string): Promise<void> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(path, resolve));
  onTestFinished(() => void server.close());
}

const ODD_THINGS: readonly (readonly [string, (path: string) => unknown])[] = [
  ['a pipe', makePipe],
  ['a socket', makeSocket],
  ['a link to a device', (path) => symlink('/dev/zero', path)],
  ['a link to a pipe', (path) => [makePipe(`${path}.pipe`), symlink(`${path}.pipe`, path)][1]],
  ['an empty folder', (path) => mkdir(path)],
  ['a folder with a file', (path) => mkdir(path).then(() => writeFile(join(path, 'file'), ''))],
];

describe('where a blob should be', () => {
  it.each(ODD_THINGS)(
    '%s is no blob: nobody waits for it, and the blob takes its place',
    async (_what, make) => {
      const app = await filledApp();
      await rm(blobPath(app.dataDir, digest));
      await make(blobPath(app.dataDir, digest));
      await expectFetched(app);
    },
  );

  it.each(ODD_THINGS)('%s that no index knows is no blob either', async (_what, make) => {
    const app = await startTestApp({ hub: await filledHub() });
    await app.get('/v2/library/plain/manifests/latest');
    await mkdir(dirname(blobPath(app.dataDir, digest)), { recursive: true });
    await make(blobPath(app.dataDir, digest));
    await expectFetched(app);
  });

  it('pipes keep no server from ending', async () => {
    const hub = await filledHub();
    const dataDir = await testFolder();
    const first = await startPierhead({ upstreamUrl: hub.url, dataDir });
    const blobs = PLAIN.image.layers.map((each) => each.digest);
    await fetch(`${first.url}/v2/library/plain/manifests/latest`);
    for (const each of blobs)
      await (await fetch(`${first.url}/v2/library/plain/blobs/${each}`)).arrayBuffer();
    await first.stop();
    await first.close();
    const replaced = blobs.map((each) => blobPath(dataDir, each));
    for (const path of replaced) await rm(path).then(() => makePipe(path));
    const part = join(partsDirectory(dataDir), `${digest}.0011223344556677`);
    for (const path of [part, journalPath(part)]) makePipe(path);
    const next = await startPierhead({ upstreamUrl: hub.url, dataDir });
    onTestFinished(() => next.close());
    for (const each of blobs) {
      expect((await fetch(`${next.url}/v2/library/plain/blobs/${each}`)).status).toBe(200);
    }
    expect(await next.stop()).toBe(0);
  });
});

describe('a folder that is removed while the server runs', () => {
  it.each([
    ['parts', (dataDir: string) => partsDirectory(dataDir)],
    ['blobs', (dataDir: string) => join(dataDir, 'blobs')],
    ['that of the blob', (dataDir: string) => dirname(blobPath(dataDir, digest))],
  ])('is made again by the next write: %s', async (_what, folder) => {
    const app = await filledApp();
    await rm(folder(app.dataDir), { recursive: true });
    await rm(blobPath(app.dataDir, digest), { force: true });
    await expectFetched(app);
    expect(await readiness(app)).toEqual({ status: 'ready' });
  });
});
