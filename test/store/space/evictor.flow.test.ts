import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readImages } from '../../../src/app/app.ts';
import { parseDigest, type Digest } from '../../../src/oci/digest.ts';
import { blobPath } from '../../../src/store/part/layout.ts';
import type { ImageEntry } from '../../../src/store/images.ts';
import { generatedContent } from '../../fake/content.ts';
import type { FakeHub } from '../../fake/hub.ts';
import { image, type Image } from '../../fixtures/images.ts';
import { opaqueLayer } from '../../fixtures/tar.ts';
import { refresh } from '../../support/admin.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { filledHub, GOLANG } from '../../support/filled-hub.ts';
import { fetchRaw } from '../../support/http.ts';
import { metric } from '../../support/metrics.ts';
import { blobFiles } from '../../support/space.ts';
import { eventually } from '../../support/wait.ts';

const MIB = 1024 * 1024;
const DAY = 24 * 60 * 60 * 1000;

/** `library/<name>:latest`, with one layer of this size of its own. */
function bigImage(hub: FakeHub, name: string, size = 2 * MIB): Image {
  const seed = Buffer.from(name.padEnd(4)).readUInt32LE() % 100_000;
  const made = image({ message: name, layers: [opaqueLayer(generatedContent({ size, seed }))] });
  hub.add({ repository: `library/${name}`, tags: ['latest'], image: made });
  return made;
}

/** As a client pulls an image; resolves to the Cache-Status of each answer. */
async function pull(app: TestApp, name: string, { config, layers }: Image): Promise<(string | undefined)[]> {
  const manifest = await app.get(`/v2/library/${name}/manifests/latest`);
  expect(manifest.status).toBe(200);
  const told = [manifest.header('cache-status')];
  for (const { digest, size } of [config, ...layers]) {
    const blob = await app.get(`/v2/library/${name}/blobs/${digest}`);
    expect([blob.status, blob.bodyBytes]).toEqual([200, size]);
    told.push(blob.header('cache-status'));
    if (told.at(-1)?.includes('bypass') !== true) await kept(app, digest);
  }
  return told;
}

async function kept(app: TestApp, digest: Digest): Promise<void> {
  const isThere = async () => (await blobFiles(app.dataDir)).includes(digest);
  await eventually(isThere, `${digest} to be stored`);
}

const HIT = 'pierhead; hit';
const digestsOf = ({ config, layers }: Image) => [config, ...layers].map(({ digest }) => digest);

/** What blobs and index take on the disk. */
async function usedBytes({ dataDir }: TestApp): Promise<number> {
  const digests = (await blobFiles(dataDir)).flatMap((text) => parseDigest(text) ?? []);
  const paths = [...digests.map((digest) => blobPath(dataDir, digest)), join(dataDir, 'index', 'data.mdb')];
  // What has gone since it was listed takes nothing.
  const sizes = await Promise.all(
    paths.map((path) =>
      stat(path).then(
        ({ size }) => size,
        () => 0,
      ),
    ),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

describe('a cache that is full', () => {
  const setUp = async (cacheSize = '8MiB') => {
    const hub = await filledHub();
    let now = Date.now();
    const app = await startTestApp({ hub, flags: { cacheSize }, now: () => now });
    const later = (ms: number) => (now += ms);
    return { hub, app, later };
  };

  it('lets the image go that was pulled longest ago, whole, for the one that comes', async () => {
    const { hub, app, later } = await setUp();
    const names = ['one', 'two', 'three', 'four'];
    const images = names.map((name) => bigImage(hub, name));
    for (const [at, made] of images.entries()) {
      await pull(app, names[at] ?? '', made);
      expect(await usedBytes(app)).toBeLessThanOrEqual(8 * MIB);
      later(DAY);
    }
    const [one, two] = images;
    if (one === undefined || two === undefined) throw new Error('no images');
    const files = await blobFiles(app.dataDir);
    expect(digestsOf(one).filter((digest) => files.includes(digest))).toEqual([]);
    const size = one.layers.reduce((sum, layer) => sum + layer.size, one.config.size);
    expect(await metric(app, 'pierhead_evicted_bytes_total')).toBe(size);
    expect(await metric(app, 'pierhead_evicted_manifests_total')).toBe(1);
    expect(await metric(app, 'pierhead_room_limit_bytes')).toBe(8 * MIB);
    // Files go after the entries that named them.
    await eventually(
      async () => (await metric(app, 'pierhead_room_used_bytes')) === (await usedBytes(app)),
      'the disk to hold what is counted',
    );
    expect(await metric(app, 'pierhead_room_reserved_bytes')).toBe(0);
    expect(await metric(app, 'pierhead_coldest_image_age_seconds')).toBe((3 * DAY) / 1000);
    const gets = () => hub.requests.filter(({ method }) => method === 'GET').length;
    const before = gets();
    expect(new Set((await pull(app, 'two', two)).slice(1))).toEqual(new Set([HIT]));
    expect(gets()).toBe(before);
    // Neither the disk nor memory has it any more.
    const again = await app.get(`/v2/library/one/manifests/${one.root.digest}`);
    expect([again.status, again.header('cache-status')]).toEqual([200, 'pierhead; fwd=uri-miss; stored']);
  });

  it('counts a GET of the manifest as a pull although all is in memory, and a HEAD not', async () => {
    const { hub, app, later } = await setUp();
    const images = ['one', 'two', 'three', 'four', 'five'].map((name) => ({
      name,
      made: bigImage(hub, name),
    }));
    for (const { name, made } of images.slice(0, 3)) {
      await pull(app, name, made);
      later(DAY);
    }
    const target = (at: number) =>
      `/v2/library/${images[at]?.name}/manifests/${images[at]?.made.root.digest}`;
    expect((await app.get(target(0))).header('cache-status')).toBe(HIT);
    expect((await app.head(target(1))).header('cache-status')).toBe(HIT);
    later(DAY);
    for (const { name, made } of images.slice(3)) await pull(app, name, made);
    const files = await blobFiles(app.dataDir);
    const isThere = images.map(({ made }) => digestsOf(made).every((digest) => files.includes(digest)));
    expect(isThere).toEqual([true, false, false, true, true]);
  });

  it('passes on what it has no room for while all that it has is being pulled', async () => {
    const { hub, app } = await setUp('6MiB');
    const one = bigImage(hub, 'one');
    const two = bigImage(hub, 'two', 4 * MIB);
    await pull(app, 'one', one);
    expect((await pull(app, 'two', two)).at(-1)).toBe('pierhead; fwd=bypass');
    expect(await blobFiles(app.dataDir)).toEqual(expect.arrayContaining(digestsOf(one)));
    expect(await usedBytes(app)).toBeLessThanOrEqual(6 * MIB);
    expect(JSON.parse((await app.get('/readyz')).body.toString())).toEqual({ status: 'ready' });
  });

  it('tells of a tag that moved meanwhile the new image, of which it has a part, and the old one', async () => {
    const { hub, app } = await setUp('6MiB');
    const one = bigImage(hub, 'moving');
    await pull(app, 'moving', one);
    const two = bigImage(hub, 'other', 4 * MIB);
    hub.add({ repository: 'library/moving', image: two });
    hub.moveTag('library/moving', 'latest', two.root.digest);
    await refresh(app, 'moving');
    expect((await pull(app, 'moving', two)).at(-1)).toBe('pierhead; fwd=bypass');
    const images: ImageEntry[] = [];
    for await (const entry of readImages(app.dataDir)) images.push(entry);
    const moving = images.filter(({ repository }) => repository === 'docker.io/library/moving');
    expect(moving.find(({ digest }) => digest === two.root.digest)).toMatchObject({
      tags: ['latest'],
      state: 'partial',
      before: [{ tag: 'latest', digest: one.root.digest }],
    });
    expect(moving.find(({ digest }) => digest === one.root.digest)).toMatchObject({
      tags: [],
      state: 'cached',
    });
    const resolved = await fetchRaw(`${app.adminUrl}/api/v1/resolve?image=moving`);
    expect(JSON.parse(resolved.body.toString())).toMatchObject({
      root: { digest: two.root.digest, state: 'partial' },
      before: one.root.digest,
    });
  });

  it('lets nothing go for a blob that is larger than all of it', async () => {
    const { hub, app, later } = await setUp('6MiB');
    const one = bigImage(hub, 'one');
    const huge = bigImage(hub, 'huge', 7 * MIB);
    await pull(app, 'one', one);
    later(DAY);
    expect((await pull(app, 'huge', huge)).at(-1)).toBe('pierhead; fwd=bypass');
    expect(await blobFiles(app.dataDir)).toEqual(expect.arrayContaining(digestsOf(one)));
  });

  it('takes an index and its tag when the last of its images has gone', async () => {
    const { hub, app, later } = await setUp();
    await app.get('/v2/library/golang/manifests/latest');
    const children = [...GOLANG.image.images.values()];
    const [child] = children;
    await app.get(`/v2/library/golang/manifests/${child?.root.digest}`);
    later(DAY);
    for (const name of ['one', 'two', 'three', 'four', 'five']) {
      await pull(app, name, bigImage(hub, name));
      later(DAY);
    }
    await eventually(
      async () => !(await app.get('/v2/_catalog')).body.toString().includes('golang'),
      'the index to be evicted',
    );
    expect((await app.get('/v2/library/golang/manifests/latest')).header('cache-status')).toBe(
      'pierhead; fwd=uri-miss; stored',
    );
  });
});

describe('a server that is started with a lower limit', () => {
  it('evicts down to it by itself, and goes on serving', async () => {
    const hub = await filledHub();
    let now = Date.now();
    const first = await startTestApp({ hub, now: () => now });
    const images = ['one', 'two', 'three'].map((name) => ({ name, made: bigImage(hub, name) }));
    for (const { name, made } of images) {
      await pull(first, name, made);
      now += DAY;
    }
    await first.stop();
    const { dataDir } = first;
    const second = await startTestApp({ hub, dataDir, now: () => now, flags: { cacheSize: '3MiB' } });
    await eventually(async () => (await usedBytes(second)) <= 0.9 * 3 * MIB, 'the low mark to be reached');
    const last = images.at(-1);
    if (last === undefined) throw new Error('no image');
    expect(await blobFiles(dataDir)).toEqual(digestsOf(last.made).sort());
    expect((await pull(second, last.name, last.made)).slice(1)).toEqual([HIT, HIT, HIT]);
  });

  it('evicts for what was kept of a transfer, before it has begun to serve', async () => {
    const hub = await filledHub();
    let now = Date.now();
    const first = await startTestApp({ hub, now: () => now });
    const one = bigImage(hub, 'one');
    await pull(first, 'one', one);
    now += DAY;
    const big = bigImage(hub, 'big', 8 * MIB);
    const [layer] = big.layers.slice(-1);
    if (layer === undefined) throw new Error('no layer');
    await first.get('/v2/library/big/manifests/latest');
    const gate = hub.holdBlob(layer.digest, 5 * MIB);
    const reader = first.begin(`/v2/library/big/blobs/${layer.digest}`);
    await reader.bodyReached(4 * MIB);
    reader.destroy();
    await first.stop();
    gate.release();
    const { dataDir } = first;
    const second = await startTestApp({ hub, dataDir, now: () => now, flags: { cacheSize: '6MiB' } });
    expect(await blobFiles(dataDir)).toEqual([]);
    expect(await metric(second, 'pierhead_room_reserved_bytes')).toBeGreaterThanOrEqual(4 * MIB);
    expect(second.log.filter(({ msg }) => msg === 'internal error')).toEqual([]);
  });
});
