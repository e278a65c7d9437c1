import { describe, expect, it } from 'vitest';
import { ContentLinks } from '../../../src/mirror/access/links.ts';
import type { Digest } from '../../../src/oci/digest.ts';
import { repositoryKey } from '../../../src/oci/reference.ts';
import { removeManifest, nothingRemoved } from '../../../src/store/index/removal.ts';
import { APP, openTestSpace } from '../../support/space.ts';

const OTHER = { host: 'docker.io', name: 'library/other' };

/** An image with a layer that clients pulled from two repositories. */
async function expanded() {
  const test = await openTestSpace({ blobLimit: 1000 });
  const layer = { digest: await test.addBlob('layer', 100), size: 100 };
  const image = await test.addImage({ name: 'image', blobs: [layer] });
  const { digest } = image.descriptor;
  await test.index.putLinks(OTHER, new Map([[digest, { by: 'upstream' }]]));
  const links = new ContentLinks(test.index);
  for (const repository of [APP, OTHER]) await links.expand(repository, image);
  const isLinked = (content: Digest) =>
    [APP, OTHER].map((each) => test.index.getLink(each, content) !== undefined);
  const saysSo = () => [APP, OTHER].map((each) => test.index.getLink(each, digest)?.withBlobs === true);
  return { test, layer, image, digest, links, isLinked, saysSo };
}

describe('the link of a manifest', () => {
  it('says that its blobs are linked as well, so that they are not looked at again', async () => {
    const { image, layer, links, isLinked, saysSo } = await expanded();
    expect([isLinked(layer.digest), saysSo()]).toEqual([
      [true, true],
      [true, true],
    ]);
    expect(links.expand(APP, image)).toBeUndefined();
  });

  it('says so in the other repository if the image was removed from one', async () => {
    const { test, layer, digest, isLinked, saysSo } = await expanded();
    await test.images.remove(APP, { kind: 'digest', digest });
    expect([isLinked(layer.digest), saysSo()]).toEqual([
      [false, true],
      [false, true],
    ]);
  });

  it('is found anew by the next pull from the repository', async () => {
    const { test, image, layer, digest, links, isLinked, saysSo } = await expanded();
    await test.images.remove(APP, { kind: 'digest', digest });
    await test.index.putLinks(APP, new Map([[digest, { by: 'upstream' }]]));
    expect(saysSo()).toEqual([false, true]);
    await links.expand(APP, image);
    expect([isLinked(layer.digest), saysSo()]).toEqual([
      [true, true],
      [true, true],
    ]);
  });

  it('says so no longer once the manifest was removed, though an index keeps the link', async () => {
    const { test, image, layer, digest, links, isLinked, saysSo } = await expanded();
    await test.addImage({ name: 'keeps the layer', blobs: [layer], repository: OTHER });
    await test.addIndex({ of: [image] });
    await links.expand(APP, image);
    const removed = nothingRemoved();
    const { tables } = test.index;
    await tables.environment.write(() => removeManifest(tables, digest, removed));
    expect([isLinked(digest), isLinked(layer.digest), saysSo()]).toEqual([
      [true, false],
      [false, true],
      [false, false],
    ]);
    // What is kept in memory must be read again.
    expect(removed.links).toContainEqual([repositoryKey(APP), digest]);
    await test.index.putManifest(image);
    await links.expand(APP, image);
    expect(isLinked(layer.digest)).toEqual([true, true]);
  });

  it('says so no longer once the manifest was deleted because its bytes are wrong', async () => {
    const { test, digest, saysSo } = await expanded();
    await test.index.deleteManifest(digest);
    expect(saysSo()).toEqual([false, false]);
  });
});
