import { describe, expect, it } from 'vitest';
import { manifestOf } from '../../../src/oci/manifest.ts';
import { digestOf, type Digest } from '../../../src/oci/digest.ts';
import { OCI_INDEX, OCI_MANIFEST } from '../../../src/oci/media-types.ts';
import { IndexEntries } from '../../../src/mirror/manifest/entries.ts';
import { storedManifest } from '../../fixtures/images.ts';

const digest = (name: string): Digest => digestOf(Buffer.from(name));

interface Entry {
  readonly name: string;
  readonly platform?: object;
  /** The name of what it is an attestation of. */
  readonly attests?: string;
}

function list(...entries: readonly Entry[]) {
  const manifests = entries.map(({ name, platform, attests }) => ({
    mediaType: OCI_MANIFEST,
    digest: digest(name),
    size: 1,
    platform,
    ...(attests === undefined
      ? {}
      : {
          annotations: {
            'vnd.docker.reference.type': 'attestation-manifest',
            'vnd.docker.reference.digest': digest(attests),
          },
        }),
  }));
  return manifestOf(storedManifest(OCI_INDEX, { manifests }));
}

const linux = (architecture: string) => ({ os: 'linux', architecture });
const attestation = (n: number, attests: string): Entry => ({ name: `${attests} attested ${n}`, attests });

describe('what indexes say of manifests', () => {
  it('is the platform of the first entry, where there are several for one manifest', () => {
    const members = new IndexEntries();
    const image = { name: 'image' };
    members.note(list({ ...image, platform: linux('amd64') }, { ...image, platform: linux('386') }));
    expect(members.get(digest('image'))?.platform).toEqual(linux('amd64'));
  });

  it('is not forgotten because another index names the same manifest and says less', () => {
    const members = new IndexEntries();
    members.note(list({ name: 'image', platform: linux('amd64') }, attestation(1, 'image')));
    members.note(list({ name: 'image' }));
    expect(members.get(digest('image'))).toMatchObject({
      platform: linux('amd64'),
      attestations: [digest('image attested 1')],
    });
  });

  it('is a few attestations, however many an index has', () => {
    const members = new IndexEntries();
    members.note(list({ name: 'image' }, ...Array.from({ length: 3000 }, (_, n) => attestation(n, 'image'))));
    expect(members.get(digest('image'))?.attestations).toHaveLength(4);
  });

  it('takes so much memory and no more, and is learnt again when an index goes out again', () => {
    const members = new IndexEntries();
    const huge = (n: number) =>
      list({ name: `huge ${n}`, platform: { os: 'linux', architecture: 'a'.repeat(4_000_000) } });
    const first = list({ name: 'first', platform: linux('amd64') });
    members.note(first);
    for (let n = 0; n < 12; n++) members.note(huge(n));
    const kept = Array.from({ length: 12 }, (_, n) => members.get(digest(`huge ${n}`))).filter(
      (member) => member !== undefined,
    );
    expect(kept.length).toBeLessThanOrEqual(8);
    expect(members.get(digest('first'))).toBeUndefined();
    members.note(first);
    expect(members.get(digest('first'))?.platform).toEqual(linux('amd64'));
  });
});
