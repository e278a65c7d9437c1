import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { listImages } from '../../../src/store/catalog/list.ts';
import { type ImageEntry } from '../../../src/store/images.ts';
import { openIndex } from '../../../src/store/manifest/lmdb.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { APP, imageManifest, linksOf, openTestSpace, type TestSpace } from '../../support/space.ts';

const tag = (name: string) => ({ kind: 'tag', tag: name }) as const;
const OTHER = { host: 'docker.io', name: 'library/other' };

async function listed(images: AsyncIterable<ImageEntry>): Promise<ImageEntry[]> {
  const entries: ImageEntry[] = [];
  for await (const entry of images) entries.push(entry);
  return entries;
}

/** Two images on one base, under one index; of the second one the layer of its own is not stored. */
async function filled() {
  const test = await openTestSpace({ blobLimit: 10_000 });
  const base = { digest: await test.addBlob('base', 1000), size: 1000 };
  const layer = { digest: await test.addBlob('layer', 100), size: 100 };
  const missing = {
    ...layer,
    digest: layer.digest.replace(/^sha256:../, 'sha256:00') as typeof layer.digest,
  };
  const amd = await test.addImage({ name: 'amd', blobs: [base, layer] });
  const arm = await test.addImage({ name: 'arm', blobs: [base, missing] });
  const list = await test.addIndex({ of: [amd, arm], tag: 'latest' });
  return { test, base, layer, amd, arm, list };
}

describe('the list of images', () => {
  it('says of each manifest what it is, what it takes and what is missing, and reads beside the owner', async () => {
    const { test, amd, arm, list } = await filled();
    await test.images.pin(APP, tag('latest'));
    const reader = openIndex(join(test.dataDir, 'index'), { readOnly: true });
    const entries = await listed(listImages(reader.tables));
    await reader.close();
    expect(entries).toEqual(await listed(test.images.list()));
    const of = (digest: string) => entries.find((entry) => entry.digest === digest);
    const shared = {
      repository: 'docker.io/library/app',
      pulledAt: test.now,
      isPinned: true,
    };
    expect(of(list.descriptor.digest)).toEqual({
      ...shared,
      tags: ['latest'],
      digest: list.descriptor.digest,
      mediaType: list.descriptor.mediaType,
      kind: 'index',
      platform: undefined,
      indexes: [],
      bytes: 1100,
      ownBytes: 1100,
      // Of arm64 nothing is cached but what amd64 has too.
      state: 'cached',
      missingBlobs: 0,
      platforms: [{ platform: 'linux/amd64', state: 'cached', missingBlobs: 0, missingAttestations: 0 }],
      before: [],
    });
    expect(of(amd.descriptor.digest)).toMatchObject({
      ...shared,
      tags: [],
      kind: 'image',
      platform: { os: 'linux', architecture: 'amd64' },
      indexes: [list.descriptor.digest],
      bytes: 1100,
      ownBytes: 100,
      state: 'cached',
      missingBlobs: 0,
    });
    expect(of(arm.descriptor.digest)).toMatchObject({
      bytes: 1000,
      ownBytes: 0,
      state: 'partial',
      missingBlobs: 1,
    });
    expect(entries).toHaveLength(3);
  });

  it('has an image once for each repository that holds it', async () => {
    const test = await openTestSpace({ blobLimit: 1000 });
    const blob = { digest: await test.addBlob('blob', 100), size: 100 };
    await test.addImage({ name: 'shared', blobs: [blob], tag: 'one' });
    await test.addImage({ name: 'shared', blobs: [blob], tag: 'two', repository: OTHER });
    const entries = await listed(test.images.list());
    expect(entries.map(({ repository, tags }) => [repository, tags])).toEqual([
      ['docker.io/library/app', ['one']],
      ['docker.io/library/other', ['two']],
    ]);
  });
});

describe('the state of an index', () => {
  const ARM = { platform: 'linux/arm64', state: 'partial', missingBlobs: 1, missingAttestations: 0 };
  const stateIn = async (test: TestSpace, digest: string) =>
    (await listed(test.images.list())).find((entry) => entry.digest === digest);
  const absent = (name: string) => ({ digest: digestOf(Buffer.from(name)), size: 10 });

  it('is missing once its images were evicted', async () => {
    const { test, amd, arm, list } = await filled();
    for (const { digest } of [amd.descriptor, arm.descriptor]) {
      await test.images.remove(APP, { kind: 'digest', digest });
    }
    expect(await stateIn(test, list.descriptor.digest)).toMatchObject({
      state: 'missing',
      bytes: 0,
      platforms: [],
    });
  });

  it('is missing though manifests of it were fetched, which no client has pulled', async () => {
    const test = await openTestSpace({ blobLimit: 10_000 });
    const of = await Promise.all(
      ['a', 'b'].map((name) => test.addImage({ name, blobs: [absent(`${name}1`), absent(`${name}2`)] })),
    );
    const list = await test.addIndex({ of, tag: 'latest' });
    expect(await stateIn(test, list.descriptor.digest)).toMatchObject({ state: 'missing', missingBlobs: 0 });
  });

  it('is partial, by platform, as soon as something of an image is cached that no other one has', async () => {
    const { test, base, amd } = await filled();
    const own = { digest: await test.addBlob('own', 10), size: 10 };
    const half = await test.addImage({ name: 'half', blobs: [base, own, absent('lost')] });
    const list = await test.addIndex({ of: [amd, half] });
    expect(await stateIn(test, list.descriptor.digest)).toMatchObject({
      state: 'partial',
      missingBlobs: 1,
      platforms: [{ platform: 'linux/amd64', state: 'cached' }, ARM],
    });
  });

  it.each([
    ['has no manifest', 'none', { missingBlobs: 0, missingAttestations: 1 }],
    ['lacks a statement', 'lacking', { missingBlobs: 1, missingAttestations: 1 }],
  ])('is partial if the attestation of an image %s', async (_, which, lacks) => {
    const { test, base, amd } = await filled();
    const blobs = [base, absent('statement')];
    const manifest =
      which === 'none'
        ? imageManifest('other', blobs, true)
        : await test.addImage({ name: 'attestation', blobs, isStatement: true });
    const list = await test.addIndex({ of: [amd], attestations: [{ manifest, of: amd }] });
    expect(await stateIn(test, list.descriptor.digest)).toMatchObject({
      state: 'partial',
      platforms: [{ platform: 'linux/amd64', state: 'partial', ...lacks }],
    });
  });

  it('is cached with an attestation that is', async () => {
    const { test, base, layer, amd } = await filled();
    const manifest = await test.addImage({ name: 'attestation', blobs: [base, layer], isStatement: true });
    const list = await test.addIndex({ of: [amd], attestations: [{ manifest, of: amd }] });
    expect(await stateIn(test, list.descriptor.digest)).toMatchObject({ state: 'cached', missingBlobs: 0 });
  });

  it('that a tag has moved to while the cache was full goes with the one before, which is cached', async () => {
    const { test, list } = await filled();
    const lost = await test.addImage({ name: 'renewed', blobs: [absent('renewed')] });
    test.now += 60_000;
    const renewed = await test.addIndex({ of: [lost], tag: 'latest' });
    expect(await stateIn(test, renewed.descriptor.digest)).toMatchObject({
      tags: ['latest'],
      state: 'missing',
      before: [{ tag: 'latest', digest: list.descriptor.digest }],
    });
    expect(await stateIn(test, list.descriptor.digest)).toMatchObject({
      tags: [],
      state: 'cached',
      before: [],
    });
  });
});

describe('a pin', () => {
  const oneImage = async (test: TestSpace, size: number) => {
    const blob = { digest: await test.addBlob('blob', size), size };
    return test.addImage({ name: 'image', blobs: [blob], tag: 'latest' });
  };

  it('of more than 90 % of the limit is refused before anything is written', async () => {
    const test = await openTestSpace({ blobLimit: 1000 });
    const image = await oneImage(test, 901);
    await expect(test.images.pin(APP, tag('latest'))).rejects.toMatchObject({
      name: 'ImageError',
      code: 'too-large',
    });
    expect(test.index.tables.pins.all()).toEqual([]);
    expect((await listed(test.images.list()))[0]?.isPinned).toBe(false);
    expect(test.isStored(image)).toBe(true);
  });

  it('counts blobs that the image has and that are not stored yet, and each blob once', async () => {
    const test = await openTestSpace({ blobLimit: 1000 });
    const blob = { digest: await test.addBlob('blob', 800), size: 800 };
    const absent = { digest: await test.addBlob('absent', 101), size: 101 };
    await test.index.deleteBlob(absent.digest);
    await test.addImage({ name: 'one', blobs: [blob], tag: 'one' });
    await test.addImage({ name: 'two', blobs: [blob], tag: 'two' });
    await test.addImage({ name: 'three', blobs: [blob, absent], tag: 'three' });
    await test.images.pin(APP, tag('one'));
    await test.images.pin(APP, tag('two'));
    await expect(test.images.pin(APP, tag('three'))).rejects.toMatchObject({ code: 'too-large' });
    expect(test.index.tables.pins.count).toBe(2);
  });

  it('of what is not stored is refused', async () => {
    const test = await openTestSpace({ blobLimit: 1000 });
    const image = await oneImage(test, 100);
    const digest = { kind: 'digest', digest: image.descriptor.digest } as const;
    await expect(test.images.pin(APP, tag('none'))).rejects.toMatchObject({ code: 'unknown' });
    await expect(test.images.pin(OTHER, digest)).rejects.toMatchObject({ code: 'unknown' });
    await test.images.pin(APP, digest);
  });

  it('can be taken away once', async () => {
    const test = await openTestSpace({ blobLimit: 1000 });
    await oneImage(test, 100);
    await test.images.pin(APP, tag('latest'));
    expect(await test.images.unpin(APP, tag('latest'))).toBe(true);
    expect(await test.images.unpin(APP, tag('latest'))).toBe(false);
  });
});

describe('removing by hand', () => {
  it('takes a tag, and with its last name the index, its entries and their blobs', async () => {
    const { test } = await filled();
    expect(await test.images.remove(APP, tag('latest'))).toEqual({
      manifests: 3,
      blobs: 2,
      bytes: 1100,
    });
    expect(await test.files()).toEqual([]);
    expect(linksOf(test)).toEqual([]);
    expect(await test.index.listRepositories({ limit: 5 })).toEqual([]);
    expect(test.removed[0]?.tags).toEqual([['docker.io/library/app', 'latest']]);
  });

  it('leaves what another tag, another repository or another index still names', async () => {
    const { test, amd, list } = await filled();
    const descriptor = {
      digest: amd.descriptor.digest,
      mediaType: amd.descriptor.mediaType,
      size: amd.bytes.length,
    };
    await test.index.putTag(APP, 'amd', { descriptor, checkedAt: 1, confirmedAt: 1 });
    await test.images.remove(APP, tag('latest'));
    expect([amd, list].map((each) => test.isStored(each))).toEqual([true, false]);
    expect(await test.files()).toHaveLength(2);
    await test.index.putLinks(OTHER, new Map([[amd.descriptor.digest, { by: 'upstream' }]]));
    await test.images.remove(APP, { kind: 'digest', digest: amd.descriptor.digest });
    expect(test.isStored(amd)).toBe(true);
    expect(linksOf(test)).toEqual([]);
    await test.images.remove(OTHER, { kind: 'digest', digest: amd.descriptor.digest });
    expect(test.isStored(amd)).toBe(false);
    expect(await test.files()).toEqual([]);
  });

  it('refuses what is pinned, directly or through an index, and what is not stored', async () => {
    const { test, amd, list } = await filled();
    await test.images.pin(APP, tag('latest'));
    for (const digest of [amd.descriptor.digest, list.descriptor.digest]) {
      await expect(test.images.remove(APP, { kind: 'digest', digest })).rejects.toMatchObject({
        code: 'pinned',
      });
    }
    await expect(test.images.remove(APP, tag('latest'))).rejects.toMatchObject({ code: 'pinned' });
    await expect(test.images.remove(APP, tag('none'))).rejects.toMatchObject({ code: 'unknown' });
    expect(await test.files()).toHaveLength(2);
  });
});

describe('the images of a digest', () => {
  it('are named by their tags, or those of the index around them, and by digest without one', async () => {
    const { test, base, layer, amd, list } = await filled();
    const { index } = test;
    for (const { digest } of [base, layer, amd.descriptor, list.descriptor]) {
      expect(await index.listImagesOf(digest)).toEqual(['docker.io/library/app:latest']);
    }
    const other = await test.addImage({ name: 'other', blobs: [base], repository: OTHER, tag: 'v1' });
    expect(await index.listImagesOf(base.digest)).toEqual([
      'docker.io/library/app:latest',
      'docker.io/library/other:v1',
    ]);
    const loose = await test.addImage({ name: 'loose', blobs: [layer], repository: OTHER });
    await test.images.remove(APP, tag('latest'));
    expect(await index.listImagesOf(layer.digest)).toEqual([
      `docker.io/library/other@${loose.descriptor.digest}`,
    ]);
    expect(await index.listImagesOf(other.descriptor.digest)).toEqual(['docker.io/library/other:v1']);
    await test.images.remove(OTHER, { kind: 'digest', digest: loose.descriptor.digest });
    expect(await index.listImagesOf(layer.digest)).toEqual([]);
  });

  it('are some, where there are very many', async () => {
    const test = await openTestSpace({ blobLimit: 10_000 });
    const base = { digest: await test.addBlob('base', 10), size: 10 };
    for (let at = 10; at < 40; at++) await test.addImage({ name: `${at}`, blobs: [base], tag: `t${at}` });
    const names = await test.index.listImagesOf(base.digest);
    expect([names.length, names[0]]).toEqual([20, 'docker.io/library/app:t10']);
  });
});
