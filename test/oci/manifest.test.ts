import { describe, expect, it } from 'vitest';
import { digestOf } from '../../src/oci/digest.ts';
import { isRunnableImage, ManifestInvalidError, parseManifest } from '../../src/oci/manifest.ts';
import { DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST } from '../../src/oci/media-types.ts';

const digest = (text: string) => digestOf(Buffer.from(text));
const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
const layer = (text: string, more: object = {}) => ({
  mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
  digest: digest(text),
  size: text.length,
  ...more,
});
const image = (more: object = {}) => ({
  schemaVersion: 2,
  mediaType: OCI_MANIFEST,
  config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: digest('config'), size: 6 },
  layers: [layer('one')],
  ...more,
});

describe('a manifest', () => {
  it('names its config and layers', () => {
    const { mediaType, content } = parseManifest(json(image()), OCI_MANIFEST);
    expect(mediaType).toBe(OCI_MANIFEST);
    expect(content).toMatchObject({
      kind: 'image',
      config: { digest: digest('config') },
      layers: [{ digest: digest('one'), size: 3 }],
    });
  });

  it('sets layers apart that its registry need not hold', () => {
    const foreign = layer('foreign', { urls: ['https://example.com/layer'] });
    const nondistributable = layer('nd', {
      mediaType: 'application/vnd.oci.image.layer.nondistributable.v1.tar',
    });
    const { content } = parseManifest(
      json(image({ layers: [layer('one'), foreign, nondistributable] })),
      OCI_MANIFEST,
    );
    if (content.kind !== 'image') throw new Error('not an image');
    expect(content.layers.map((each) => each.digest)).toEqual([digest('one')]);
    expect(content.foreign.map((each) => each.digest)).toEqual([digest('foreign'), digest('nd')]);
  });

  it('that is an index names its entries with their platforms', () => {
    const index = {
      schemaVersion: 2,
      manifests: [
        {
          mediaType: OCI_MANIFEST,
          digest: digest('a'),
          size: 1,
          platform: { os: 'linux', architecture: 'arm', variant: 'v7' },
        },
        {
          mediaType: OCI_MANIFEST,
          digest: digest('b'),
          size: 2,
          platform: { os: 'windows', architecture: 'amd64', 'os.version': '10.0.20348.1' },
        },
        { mediaType: OCI_MANIFEST, digest: digest('c'), size: 3 },
      ],
    };
    const { mediaType, content } = parseManifest(json(index), OCI_INDEX);
    expect(mediaType).toBe(OCI_INDEX);
    expect(content).toEqual({
      kind: 'index',
      entries: [
        {
          mediaType: OCI_MANIFEST,
          digest: digest('a'),
          size: 1,
          platform: { os: 'linux', architecture: 'arm', variant: 'v7' },
        },
        {
          mediaType: OCI_MANIFEST,
          digest: digest('b'),
          size: 2,
          platform: { os: 'windows', architecture: 'amd64', osVersion: '10.0.20348.1' },
        },
        { mediaType: OCI_MANIFEST, digest: digest('c'), size: 3 },
      ],
    });
  });

  it.each([null, undefined])('has none where layers or entries are %s, as Go writes empty lists', (empty) => {
    const artifact = parseManifest(json(image({ layers: empty })), OCI_MANIFEST).content;
    expect(artifact).toMatchObject({ kind: 'image', layers: [] });
    const index = parseManifest(json({ schemaVersion: 2, manifests: empty }), OCI_INDEX).content;
    expect(index).toEqual({ kind: 'index', entries: [] });
  });

  it('names nothing by an algorithm that is not known, and is what it is all the same', () => {
    const other = { mediaType: OCI_MANIFEST, digest: 'blake3:YWJj', size: 1 };
    const known = { mediaType: OCI_MANIFEST, digest: digest('a'), size: 1 };
    const index = parseManifest(json({ schemaVersion: 2, manifests: [other, known] }), OCI_INDEX).content;
    expect(index).toMatchObject({ entries: [{ digest: digest('a') }] });
    const layers = [layer('x', { digest: 'multihash+base58:QmRZ' }), layer('one')];
    const { content } = parseManifest(json(image({ layers })), OCI_MANIFEST);
    expect(content).toMatchObject({ layers: [{ digest: digest('one') }] });
  });

  it.each(['application/octet-stream', 'text/html', '', undefined])(
    'is an image if its config is of the type %j and its layers hold files, as Docker takes it',
    (mediaType) => {
      const config = { mediaType, digest: digest('config'), size: 6 };
      const runs = (layers: readonly object[]): boolean =>
        isRunnableImage(parseManifest(json(image({ config, layers })), OCI_MANIFEST).content);
      expect(runs([layer('one')])).toBe(true);
      expect(runs([layer('one', { mediaType: 'application/vnd.cncf.helm.chart.content.v1.tar+gzip' })])).toBe(
        false,
      );
      expect(runs([])).toBe(false);
    },
  );

  it('says its own type when it was sent without one', () => {
    expect(parseManifest(json(image()), 'application/json; charset=utf-8').mediaType).toBe(OCI_MANIFEST);
    expect(parseManifest(json(image()), '').mediaType).toBe(OCI_MANIFEST);
  });

  it.each([
    ['not JSON', Buffer.from('<html>'), OCI_MANIFEST],
    ['not an object', json([]), OCI_MANIFEST],
    ['no schema version', json({}), OCI_MANIFEST],
    [
      'schema 1',
      json({ schemaVersion: 1, fsLayers: [] }),
      'application/vnd.docker.distribution.manifest.v1+prettyjws',
    ],
    ['another type than it was sent with', json(image()), DOCKER_MANIFEST],
    ['no type at all, nor the looks of one', json({ schemaVersion: 2, blobs: [] }), 'text/plain'],
    [
      'no type but that of something else',
      json(image({ mediaType: undefined })),
      'application/vnd.oci.artifact.manifest.v1+json',
    ],
    ['no config', json(image({ config: undefined })), OCI_MANIFEST],
    ['a malformed digest', json(image({ layers: [layer('x', { digest: 'sha256:short' })] })), OCI_MANIFEST],
    ['a negative size', json(image({ layers: [layer('x', { size: -1 })] })), OCI_MANIFEST],
    ['a size beyond integers', json(image({ layers: [layer('x', { size: 1e300 })] })), OCI_MANIFEST],
    ['layers that are no list', json(image({ layers: 'none' })), OCI_MANIFEST],
    ['entries that are no list', json({ schemaVersion: 2, manifests: {} }), OCI_INDEX],
  ])('is refused with %s', (_why, bytes, contentType) => {
    expect(() => parseManifest(bytes, contentType)).toThrow(ManifestInvalidError);
  });
});
