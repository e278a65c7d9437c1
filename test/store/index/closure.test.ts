import { describe, expect, it } from 'vitest';
import type { Manifest } from '../../../src/oci/manifest.ts';
import { isPinned } from '../../../src/store/index/closure.ts';
import { APP, linksOf, openTestSpace, type TestSpace } from '../../support/space.ts';

const DAY = 24 * 60 * 60_000;
const OTHER = { host: 'docker.io', name: 'library/other' };

/**
 * An image and a statement of one blob of their own each, under an index, and a cold image besides. A hundredth of the
 * limit is for the index: 10 bytes.
 */
async function attested() {
  const test = await openTestSpace({ blobLimit: 1000 });
  const image = await add(test, 'image');
  const statement = await add(test, 'statement', { isStatement: true });
  const list = await test.addIndex({
    of: [image],
    attestations: [{ manifest: statement, of: image }],
    tag: 'latest',
  });
  test.now += DAY;
  const stored = (...manifests: readonly Manifest[]) => manifests.map((each) => test.isStored(each));
  return { test, image, statement, list, stored };
}

async function add(test: TestSpace, name: string, options: { readonly isStatement?: boolean } = {}) {
  const digest = await test.addBlob(name, 200);
  return test.addImage({ name, blobs: [{ digest, size: 200 }], ...options });
}

/** A hundredth of each limit is for the index, and for nothing else: 10 bytes of 1000. */
describe('an attestation', () => {
  it('stays as long as the image of which it speaks is pulled, though nobody asks for it', async () => {
    const { test, image, statement, stored } = await attested();
    const other = await add(test, 'other');
    test.now += DAY;
    await test.pull(image);
    test.now += DAY;
    await test.want(590);
    expect(stored(image, statement, other)).toEqual([true, true, false]);
  });

  it('stays with an image that is fresher, if only by what was noted before both were here', async () => {
    const { test, image, statement, stored } = await attested();
    const other = await add(test, 'other');
    test.now += DAY;
    const { usage, environment } = test.index.tables;
    await environment.write(() => usage.set('manifest', image.descriptor.digest, test.now));
    test.now += DAY;
    await test.want(590);
    expect(stored(image, statement, other)).toEqual([true, true, false]);
  });

  it('keeps its files even where a full disk has files go before the index', async () => {
    const { test, image, statement, stored } = await attested();
    const other = await add(test, 'other');
    test.now += DAY;
    const { usage, environment } = test.index.tables;
    await environment.write(() => usage.set('manifest', image.descriptor.digest, test.now));
    test.now += DAY;
    environment.isCramped = () => Promise.resolve(true);
    await test.want(490);
    expect(stored(image, statement, other)).toEqual([true, true, false]);
    expect(await test.files()).toHaveLength(2);
  });

  it('goes with it, though it was read itself meanwhile', async () => {
    const { test, image, statement, stored } = await attested();
    const other = await add(test, 'other');
    test.now += DAY;
    await test.pull(statement);
    test.now += DAY;
    await test.want(790);
    expect(stored(image, statement, other)).toEqual([false, false, true]);
    expect(await test.files()).toHaveLength(1);
  });

  it('is spared while it is being served, and goes when that is over', async () => {
    const { test, image, statement, stored } = await attested();
    test.space.usage.touch(statement.descriptor);
    await test.want(790);
    expect(stored(image, statement)).toEqual([false, true]);
    test.now += DAY;
    await test.want(990);
    expect(stored(statement)).toEqual([false]);
  });

  it('is kept by a pin of the image, which counts what it takes', async () => {
    const { test, image, statement, stored } = await attested();
    await test.images.pin(APP, { kind: 'digest', digest: image.descriptor.digest });
    await expect(test.want(690)).rejects.toMatchObject({ code: 'no-space' });
    expect(stored(image, statement)).toEqual([true, true]);
    await test.images.unpin(APP, { kind: 'digest', digest: image.descriptor.digest });
    await test.want(990);
    expect(stored(image, statement)).toEqual([false, false]);
  });

  it('is removed by hand with the image, unless another repository has it or a tag names it', async () => {
    const { test, image, statement, list, stored } = await attested();
    await test.index.putLinks(OTHER, new Map([[statement.descriptor.digest, { by: 'upstream' }]]));
    await test.images.remove(APP, { kind: 'digest', digest: image.descriptor.digest });
    expect(stored(image, statement, list)).toEqual([false, true, true]);
    expect(linksOf(test)).toEqual([list.descriptor.digest]);
    const again = await attested();
    await again.test.images.remove(APP, { kind: 'digest', digest: again.image.descriptor.digest });
    expect(again.stored(again.image, again.statement)).toEqual([false, false]);
    expect(await again.test.files()).toEqual([]);
    const tagged = await attested();
    const { descriptor } = tagged.statement;
    await tagged.test.index.putTag(APP, 'sbom', { descriptor, checkedAt: 1, confirmedAt: 1 });
    await tagged.test.images.remove(APP, { kind: 'digest', digest: tagged.image.descriptor.digest });
    expect(tagged.stored(tagged.statement)).toEqual([true]);
  });

  it('is what an index calls so only if nobody could run it: images of others are left alone', async () => {
    const test = await openTestSpace({ blobLimit: 1000 });
    const junk = await add(test, 'junk');
    const victim = await add(test, 'victim');
    await test.addIndex({ of: [junk], attestations: [{ manifest: victim, of: junk }] });
    test.now += DAY;
    await test.pull(victim);
    test.now += DAY;
    await test.want(690);
    expect([junk, victim].map((each) => test.isStored(each))).toEqual([false, true]);
  });

  it('of an attestation does not keep that, nor that it', async () => {
    const test = await openTestSpace({ blobLimit: 1000 });
    const [first, second] = [
      await add(test, 'first', { isStatement: true }),
      await add(test, 'second', { isStatement: true }),
    ];
    await test.addIndex({
      of: [],
      attestations: [
        { manifest: first, of: second },
        { manifest: second, of: first },
      ],
    });
    test.now += DAY;
    await test.want(990);
    expect([first, second].map((each) => test.isStored(each))).toEqual([false, false]);
  });
});

describe('an image in an index inside an index', () => {
  it('is kept by a pin of the outer one', async () => {
    const test = await openTestSpace({ blobLimit: 1000 });
    const image = await add(test, 'image');
    const inner = await test.addIndex({ of: [image] });
    await test.addIndex({ of: [inner], tag: 'latest' });
    await test.images.pin(APP, { kind: 'tag', tag: 'latest' });
    test.now += DAY;
    const other = await add(test, 'other');
    test.now += DAY;
    await test.want(690);
    expect([image, other].map((each) => test.isStored(each))).toEqual([true, false]);
  });
});

describe('a manifest that 101 tags name', () => {
  const TAGS = Array.from({ length: 101 }, (_, at) => `build-${String(at).padStart(3, '0')}`);

  it.each([TAGS[0], TAGS.at(-1)])(
    'is protected by a pin of %s, as long as the tag names it',
    async (tag = '') => {
      const test = await openTestSpace({ blobLimit: 1000 });
      const { descriptor } = await test.addImage({ name: 'image', blobs: [] });
      const other = await test.addImage({ name: 'other', blobs: [], tag: 'other' });
      const named = (by: Manifest['descriptor']) => ({
        descriptor: by,
        checkedAt: test.now,
        confirmedAt: test.now,
      });
      await Promise.all(TAGS.map((each) => test.index.putTag(APP, each, named(descriptor))));
      const pinned = () => isPinned(test.index.tables, descriptor.digest);
      await test.images.pin(APP, { kind: 'tag', tag: 'other' });
      expect(pinned()).toBe(false);
      await test.images.pin(APP, { kind: 'tag', tag });
      expect(pinned()).toBe(true);
      await test.index.putTag(APP, 'one-more', named(descriptor));
      await test.index.putTag(APP, tag, named(other.descriptor));
      expect(pinned()).toBe(false);
    },
  );

  it('is protected by a pin of its digest', async () => {
    const test = await openTestSpace({ blobLimit: 1000 });
    const { descriptor } = await test.addImage({ name: 'image', blobs: [] });
    const record = { descriptor, checkedAt: test.now, confirmedAt: test.now };
    await Promise.all(TAGS.map((each) => test.index.putTag(APP, each, record)));
    await test.images.pin(APP, { kind: 'digest', digest: descriptor.digest });
    expect(isPinned(test.index.tables, descriptor.digest)).toBe(true);
  });
});
