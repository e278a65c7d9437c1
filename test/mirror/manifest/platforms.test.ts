import { describe, expect, it } from 'vitest';
import { digestOf, type Digest } from '../../../src/oci/digest.ts';
import { manifestOf, type Manifest } from '../../../src/oci/manifest.ts';
import { OCI_INDEX, OCI_MANIFEST } from '../../../src/oci/media-types.ts';
import { entryFor } from '../../../src/mirror/manifest/platforms.ts';

const AMD64 = { os: 'linux', architecture: 'amd64' };
const digest = (name: string): Digest => digestOf(Buffer.from(name));

/** Lists by name, each of which names others or images; their digests are claims, as only verified ones come in. */
function lists(content: Readonly<Record<string, readonly string[]>>) {
  const loaded: Digest[] = [];
  const stored = new Map<Digest, Manifest>(
    Object.entries(content).map(([name, named]) => {
      const manifests = named.map((each) => ({
        mediaType: each in content ? OCI_INDEX : OCI_MANIFEST,
        digest: digest(each),
        size: 1,
        platform: { os: 'linux', architecture: each in content ? 'amd64' : each },
      }));
      const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests }));
      return [digest(name), manifestOf({ digest: digest(name), mediaType: OCI_INDEX, bytes })];
    }),
  );
  const get = (wanted: Digest): Manifest => {
    const list = stored.get(wanted);
    if (list === undefined) throw new Error(`no list ${wanted}`);
    return list;
  };
  const find = (root: string) =>
    entryFor(AMD64, get(digest(root)), (entry) => {
      loaded.push(entry.digest);
      return Promise.resolve(get(entry.digest));
    });
  return { find, loaded };
}

describe('lists that name each other', () => {
  it('are looked into once each', async () => {
    const { find, loaded } = lists({ a: ['b', 'a'], b: ['c', 'a'], c: ['a', 'b', 's390x'] });
    expect(await find('a')).toBeUndefined();
    expect(loaded.length).toBeLessThanOrEqual(3);
  });

  it('give the image that is in one of them all the same', async () => {
    const { find } = lists({ a: ['b', 'a'], b: ['a', 'amd64'] });
    expect((await find('a'))?.digest).toBe(digest('amd64'));
  });
});

describe('a list of ten thousand entries', () => {
  it('gives the only one that fits, and of ten thousand that fit the first', async () => {
    const names = Array.from({ length: 10_000 }, (_, n) => `cpu${n}`);
    const { find } = lists({ many: [...names, 'amd64'], same: names.map(() => 'amd64') });
    for (const list of ['many', 'same']) expect((await find(list))?.digest).toBe(digest('amd64'));
  });
});
