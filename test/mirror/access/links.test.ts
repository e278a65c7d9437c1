import { describe, expect, it } from 'vitest';
import { ContentLinks } from '../../../src/mirror/access/links.ts';
import { repositoryKey } from '../../../src/oci/reference.ts';
import { APP, linksOf, openTestSpace } from '../../support/space.ts';

const OTHER = { host: 'docker.io', name: 'library/other' };

/** An image that clients pulled from two repositories. */
async function expanded() {
  const test = await openTestSpace({ blobLimit: 1000 });
  const layer = { digest: await test.addBlob('layer', 100), size: 100 };
  const image = await test.addImage({ name: 'image', blobs: [layer] });
  const { digest } = image.descriptor;
  await test.index.putLinks(OTHER, new Map([[digest, { by: 'upstream' }]]));
  const links = new ContentLinks(test.index);
  for (const repository of [APP, OTHER]) await links.expand(repository, image);
  const areExpanded = () => [APP, OTHER].map((each) => links.isExpanded(each, digest));
  return { test, layer, image, digest, links, areExpanded };
}

describe('the content of a removed manifest', () => {
  it('counts as linked in no repository', async () => {
    const { digest, links, areExpanded } = await expanded();
    expect(areExpanded()).toEqual([true, true]);
    links.forget({ manifests: [digest], links: [] });
    expect(areExpanded()).toEqual([false, false]);
  });

  it('counts as linked in the other repository if the manifest was removed from one', async () => {
    const { digest, links, areExpanded } = await expanded();
    links.forget({ manifests: [], links: [[repositoryKey(APP), digest]] });
    expect(areExpanded()).toEqual([false, true]);
  });

  it('is linked again by the next pull from that repository', async () => {
    const { test, layer, image, digest, links } = await expanded();
    await test.images.remove(APP, { kind: 'digest', digest });
    expect(linksOf(test)).toEqual([]);
    for (const each of test.removed) links.forget(each);
    await links.expand(APP, image);
    expect(linksOf(test)).toContain(layer.digest);
  });
});
