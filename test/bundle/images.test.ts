import { expect, it } from 'vitest';
import { manifestOf } from '../../src/oci/manifest.ts';
import { unitsOf } from '../../src/bundle/images.ts';
import { parseImageName, type ImageName } from '../../src/oci/image-name.ts';
import { GOLANG } from '../support/filled-hub.ts';

const { manifests, blobs, root } = GOLANG.image;
const size = root.bytes.length;

it('an image that has a hundred thousand names in a bundle takes no more memory for them than names do', () => {
  const name = parseImageName('golang:1') as ImageName;
  const images = Array.from({ length: 100_000 }, () => ({ name, root: { ...root, size } }));
  const contents = { manifests: [], referrers: [], blobs, base: [], docker: undefined };
  const read = new Map(manifests.map((each) => [each.digest, manifestOf(each)]));
  const units = unitsOf({ images, contents, signature: 'none' }, read, []);
  expect(units).toHaveLength(images.length);
  expect(units[0]?.manifests).toHaveLength(manifests.length);
  expect(new Set(units.map((unit) => unit.manifests)).size).toBe(1);
});
