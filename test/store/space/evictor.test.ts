import { describe, expect, it } from 'vitest';
import { digestOf } from '../../../src/oci/digest.ts';
import { APP, linksOf, openTestSpace, type TestSpace } from '../../support/space.ts';

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;
const OTHER = { host: 'docker.io', name: 'library/other' };

/** An image of one blob of its own, pulled now, under a tag of its name. */
async function simpleImage(test: TestSpace, name: string, size: number) {
  const digest = await test.addBlob(name, size);
  return test.addImage({ name, tag: name, blobs: [{ digest, size }] });
}

/** Images of 200 bytes each, pulled a day apart, the first one longest ago; a day later. */
async function days(test: TestSpace, ...names: string[]) {
  const images = [];
  for (const name of names) {
    images.push(await simpleImage(test, name, 200));
    test.now += DAY;
  }
  return images;
}

/** A hundredth of each limit is for the index, and for nothing else: 10 bytes of 1000. */
describe('eviction', () => {
  it('takes the image that was pulled longest ago, whole, with its tags and links', async () => {
    const test = await openTestSpace({ blobLimit: 1000 });
    const [first, second] = await days(test, 'first', 'second', 'third', 'fourth');
    await test.want(300);
    expect(first && test.isStored(first)).toBe(false);
    expect(second && test.isStored(second)).toBe(true);
    expect(await test.files()).toHaveLength(3);
    expect(await test.index.listTags(APP)).toEqual(['fourth', 'second', 'third']);
    expect(linksOf(test)).toHaveLength(6);
    expect(test.index.blobTotals()).toEqual({ blobs: 3, bytes: 600 });
  });

  it('takes an image of thousands of layers in steps that others come between, and leaves nothing behind', async () => {
    const test = await openTestSpace({ blobLimit: 1000 });
    const layers = Array.from({ length: 4500 }, (_, at) => ({
      digest: digestOf(Buffer.from(`${at}`)),
      size: 1,
    }));
    const stored = await Promise.all([0, 2500, 4499].map((at) => test.addBlob(`${at}`, 200)));
    const image = await test.addImage({ name: 'large', tag: 'large', blobs: layers });
    await test.index.putLinks(
      APP,
      new Map(layers.map(({ digest, size }) => [digest, { by: 'manifest', size }])),
    );
    expect(test.index.tables.references.isNamed(layers[4499]?.digest ?? image.descriptor.digest)).toBe(true);
    test.now += DAY;
    await test.want(900);
    expect(test.isStored(image)).toBe(false);
    expect(await test.files()).toEqual([]);
    expect(test.removed.flatMap(({ blobs }) => [...blobs.keys()]).sort()).toEqual(stored.sort());
    expect(linksOf(test)).toEqual([]);
    expect(layers.filter(({ digest }) => test.index.tables.references.isNamed(digest))).toEqual([]);
    expect(Math.max(...test.removed.map(({ links }) => links.length))).toBeLessThan(1100);
  });

  it('takes what thousands of tags name and thousands of repositories hold in steps, and leaves nothing behind', async () => {
    const test = await openTestSpace({ blobLimit: 1000 });
    const { environment, tags, links, repositories } = test.index.tables;
    const layer = await test.addBlob('layer', 200);
    const loose = await test.addBlob('loose', 200);
    const image = await test.addImage({ name: 'everywhere', blobs: [{ digest: layer, size: 200 }] });
    const { descriptor } = image;
    const { digest } = descriptor;
    const places = Array.from({ length: 2500 }, (_, at) => at);
    await environment.writeEach(places, (at) => {
      tags.put(['docker.io/library/app', `${at}`], { descriptor, checkedAt: 1, confirmedAt: 1 });
      for (const each of [digest, layer, loose])
        links.put(`docker.io/library/${at}`, each, { by: 'manifest' });
      repositories.list(`docker.io/library/${at}`);
    });
    test.now += DAY;
    await test.want(900);
    expect(test.isStored(image)).toBe(false);
    expect(await test.files()).toEqual([]);
    expect(linksOf(test)).toEqual([]);
    expect([digest, layer, loose].flatMap((each) => links.holdersOf(each))).toEqual([]);
    expect(await test.index.listTags(APP)).toEqual([]);
    expect(await test.index.listRepositories({ limit: 10 })).toEqual([]);
    const steps = test.removed.map((removed) => Math.max(removed.tags.length, removed.links.length));
    expect(Math.max(...steps)).toBeLessThan(2100);
  });

  it('goes by the last pull, not by when something came', async () => {
    const test = await openTestSpace({ blobLimit: 1000 });
    const [first, second] = await days(test, 'first', 'second', 'third', 'fourth');
    if (first === undefined || second === undefined) throw new Error('no images');
    await test.pull(first);
    test.now += MINUTE;
    await test.want(300);
    expect(test.isStored(first)).toBe(true);
    expect(test.isStored(second)).toBe(false);
  });

  it('leaves a blob that a fresher image has too, and takes it with that', async () => {
    const test = await openTestSpace({ blobLimit: 1000 });
    const base = { digest: await test.addBlob('base', 300), size: 300 };
    const own = { digest: await test.addBlob('own', 300), size: 300 };
    const old = await test.addImage({ name: 'old', blobs: [base, own] });
    test.now += DAY;
    const fresh = await test.addImage({ name: 'fresh', blobs: [base] });
    test.now += DAY;
    await test.want(500);
    expect([old, fresh].map((each) => test.isStored(each))).toEqual([false, true]);
    expect(await test.files()).toEqual([base.digest]);
    await test.want(900);
    expect(test.isStored(fresh)).toBe(false);
    expect(await test.files()).toEqual([]);
  });

  it('keeps the link of a repository to what another of its manifests names, and no other', async () => {
    const test = await openTestSpace({ blobLimit: 1000 });
    const base = { digest: await test.addBlob('base', 300), size: 300 };
    const old = await test.addImage({ name: 'old', blobs: [base] });
    await test.addImage({ name: 'old', blobs: [base], repository: OTHER });
    test.now += DAY;
    await test.addImage({ name: 'fresh', blobs: [base] });
    test.now += DAY;
    await test.images.remove(OTHER, { kind: 'digest', digest: old.descriptor.digest });
    await test.images.remove(APP, { kind: 'digest', digest: old.descriptor.digest });
    expect(linksOf(test, OTHER)).toEqual([]);
    expect(linksOf(test)).toContain(base.digest);
    expect(await test.index.listRepositories({ limit: 10 })).toEqual(['docker.io/library/app']);
  });

  it('takes blobs that no manifest names by their own age', async () => {
    const test = await openTestSpace({ blobLimit: 1000 });
    const loose = await test.addBlob('loose', 300);
    test.now += DAY;
    const image = await simpleImage(test, 'image', 300);
    test.now += DAY;
    await test.want(600);
    expect(test.index.getBlob(loose)).toBeUndefined();
    expect(test.isStored(image)).toBe(true);
  });

  it('keeps a blob that no manifest names and that was read after an image was pulled', async () => {
    const test = await openTestSpace({ blobLimit: 1000 });
    const loose = await test.addBlob('loose', 300);
    test.now += DAY;
    const image = await simpleImage(test, 'image', 300);
    test.now += DAY;
    test.space.usage.touchBlob(loose);
    test.now += DAY;
    await test.want(600);
    expect(test.index.getBlob(loose)).toEqual({ size: 300 });
    expect(test.isStored(image)).toBe(false);
  });

  it('gives a blob the age of the manifest that comes to name it', async () => {
    const test = await openTestSpace({ blobLimit: 1000 });
    const layer = await test.addBlob('layer', 300);
    test.now += DAY;
    const other = await simpleImage(test, 'other', 300);
    test.now += DAY;
    const image = await test.addImage({ name: 'image', blobs: [{ digest: layer, size: 300 }] });
    test.now += DAY;
    await test.want(600);
    expect([image, other].map((each) => test.isStored(each))).toEqual([true, false]);
    expect(await test.files()).toEqual([layer]);
  });

  it('takes an index after the last of its stored entries, with the tags that name it', async () => {
    const test = await openTestSpace({ blobLimit: 1000 });
    const amd = await simpleImage(test, 'amd', 200);
    const arm = await simpleImage(test, 'arm', 200);
    const list = await test.addIndex({ of: [amd, arm], tag: 'latest' });
    test.now += DAY;
    await test.pull(arm);
    test.now += DAY;
    await test.want(700);
    expect([amd, arm, list].map((each) => test.isStored(each))).toEqual([false, true, true]);
    await test.want(990);
    expect([amd, arm].map((each) => test.isStored(each))).toEqual([false, false]);
    const [fresher] = await days(test, 'fresher');
    await test.want(990);
    expect(fresher && test.isStored(fresher)).toBe(false);
    expect(test.isStored(list)).toBe(false);
    expect(await test.index.listTags(APP)).toEqual([]);
  });

  it('counts the pull of an index for its stored entries', async () => {
    const test = await openTestSpace({ blobLimit: 1000 });
    const amd = await simpleImage(test, 'amd', 200);
    const arm = await simpleImage(test, 'arm', 200);
    const list = await test.addIndex({ of: [amd, arm] });
    test.now += DAY;
    const other = await simpleImage(test, 'other', 200);
    test.now += DAY;
    await test.pull(list);
    test.now += DAY;
    await test.want(590);
    expect([amd, arm, other].map((each) => test.isStored(each))).toEqual([true, true, false]);
  });

  it('never takes what a pinned tag names, directly or through an index, nor a pinned digest', async () => {
    const test = await openTestSpace({ blobLimit: 1200 });
    const amd = await simpleImage(test, 'amd', 200);
    await test.addIndex({ of: [amd], tag: 'latest' });
    const [byDigest] = await days(test, 'by-digest');
    const byTag = await simpleImage(test, 'by-tag', 200);
    const [loser] = await days(test, 'loser');
    if (byDigest === undefined || loser === undefined) throw new Error('no images');
    await test.images.pin(APP, { kind: 'tag', tag: 'latest' });
    await test.images.pin(APP, { kind: 'digest', digest: byDigest.descriptor.digest });
    await test.images.pin(APP, { kind: 'tag', tag: 'by-tag' });
    test.now += DAY;
    await test.want(588);
    expect([amd, byDigest, byTag, loser].map((each) => test.isStored(each))).toEqual([
      true,
      true,
      true,
      false,
    ]);
    await expect(test.want(700)).rejects.toMatchObject({ name: 'BlobStoreError', code: 'no-space' });
    await test.images.unpin(APP, { kind: 'tag', tag: 'by-tag' });
    await test.want(700);
    expect(test.isStored(byTag)).toBe(false);
  });

  it('never takes what one pinned tag of hundreds names', async () => {
    const test = await openTestSpace({ blobLimit: 1000 });
    const { environment, tags } = test.index.tables;
    const image = await simpleImage(test, 'many', 200);
    const descriptor = {
      digest: image.descriptor.digest,
      mediaType: image.descriptor.mediaType,
      size: image.bytes.length,
    };
    const names = Array.from({ length: 300 }, (_, at) => `${at}`);
    await environment.writeEach(names, (tag) => {
      tags.put(['docker.io/library/app', tag], { descriptor, checkedAt: 1, confirmedAt: 1 });
    });
    await test.images.pin(APP, { kind: 'tag', tag: '299' });
    const [other] = await days(test, 'other', 'third', 'fourth');
    await test.want(300);
    expect(test.isStored(image)).toBe(true);
    expect(other && test.isStored(other)).toBe(false);
    await test.images.unpin(APP, { kind: 'tag', tag: '299' });
    await test.want(900);
    expect(test.isStored(image)).toBe(false);
  });

  it('follows a pinned tag when it moves', async () => {
    const test = await openTestSpace({ blobLimit: 1000 });
    const [before] = await days(test, 'stable');
    await test.images.pin(APP, { kind: 'tag', tag: 'stable' });
    const size = 200;
    const next = { digest: await test.addBlob('next', size), size };
    const after = await test.addImage({ name: 'next', tag: 'stable', blobs: [next] });
    test.now += DAY;
    await test.want(790);
    expect(before && test.isStored(before)).toBe(false);
    expect(test.isStored(after)).toBe(true);
  });

  it('never takes an image whose manifest, or the index that names it, was served within 10 s', async () => {
    const test = await openTestSpace({ blobLimit: 1000 });
    const [first] = await days(test, 'first');
    const amd = await simpleImage(test, 'amd', 200);
    const list = await test.addIndex({ of: [amd] });
    test.now += DAY;
    if (first === undefined) throw new Error('no image');
    test.space.usage.touch(first.descriptor);
    test.space.usage.touch(list.descriptor);
    test.now += 9000;
    await expect(test.want(800)).rejects.toMatchObject({ code: 'no-space' });
    expect([first, amd, list].map((each) => test.isStored(each))).toEqual([true, true, true]);
    test.now += 2000;
    await test.want(900);
    expect([first, amd].map((each) => test.isStored(each))).toEqual([false, false]);
  });

  it('never takes an image while one of its blobs is open or being filled', async () => {
    const test = await openTestSpace({ blobLimit: 1000 });
    const { index } = test;
    const blobs = await test.openBlobs();
    const read = { digest: await test.addBlob('read', 200), size: 200 };
    const size = 200;
    const filled = { digest: await test.addBlob('filled', size), size };
    const own = { digest: await test.addBlob('own', 200), size: 200 };
    const reading = await test.addImage({ name: 'reading', blobs: [read] });
    const filling = await test.addImage({ name: 'filling', blobs: [filled, own] });
    test.now += DAY;
    await index.deleteBlob(filled.digest);
    const opened = await blobs.open(read.digest);
    const part = await blobs.createPart(filled.digest, 100);
    await expect(test.want(600)).rejects.toMatchObject({ code: 'no-space' });
    expect([reading, filling].map((each) => test.isStored(each))).toEqual([true, true]);
    await opened?.close();
    await test.want(600);
    expect([reading, filling].map((each) => test.isStored(each))).toEqual([false, true]);
    await part.discard();
    await part.close();
    await test.want(990);
    expect(test.isStored(filling)).toBe(false);
    await blobs.close();
  });

  it('is not held up by a base layer that is always being read: only by pulls of this image', async () => {
    const test = await openTestSpace({ blobLimit: 1000 });
    const base = { digest: await test.addBlob('base', 200), size: 200 };
    const own = { digest: await test.addBlob('own', 400), size: 400 };
    const cold = await test.addImage({ name: 'cold', blobs: [base, own] });
    test.now += DAY;
    const fresh = await test.addImage({ name: 'fresh', blobs: [base] });
    test.now += 11_000;
    const release = test.space.leases.hold(base.digest);
    await test.want(600);
    expect([cold, fresh].map((each) => test.isStored(each))).toEqual([false, true]);
    release();
  });

  it('begins in the background at 95 % of the limit and goes on to 90 %', async () => {
    const test = await openTestSpace({ blobLimit: 1000 });
    const [first, second, third] = await days(test, 'first', 'second', 'third', 'fourth');
    const hold = await test.space.room.reserve(150);
    expect(test.removed).toEqual([]);
    await hold.resize(151);
    await test.space.idle();
    expect(test.space.figures().usedBytes).toBeLessThanOrEqual(900);
    expect([first, second, third].map((each) => each && test.isStored(each))).toEqual([false, true, true]);
    hold.release();
  });

  it('begins at 100 %, less what the index may grow by, while upstream could give nothing back', async () => {
    const test = await openTestSpace({ blobLimit: 1010 });
    test.canRefill = false;
    await days(test, 'first', 'second', 'third', 'fourth', 'fifth');
    const hold = await test.space.room.reserve(0);
    expect(test.removed).toEqual([]);
    await hold.resize(1);
    expect(await test.files()).toHaveLength(4);
    hold.release();
  });

  it('takes nothing for what cannot fit whatever goes', async () => {
    const test = await openTestSpace({ blobLimit: 1000 });
    await days(test, 'first', 'second');
    await expect(test.want(991)).rejects.toMatchObject({ code: 'no-space' });
    await test.images.pin(APP, { kind: 'tag', tag: 'second' });
    await expect(test.want(791)).rejects.toMatchObject({ code: 'no-space' });
    expect(await test.files()).toHaveLength(2);
    expect(test.removed.flatMap(({ manifests }) => [...manifests])).toEqual([]);
  });
});
