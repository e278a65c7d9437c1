import { describe, expect, it } from 'vitest';
import { digestOf } from '../../src/oci/digest.ts';
import { manifestOf, type Manifest } from '../../src/oci/manifest.ts';
import { OCI_MANIFEST } from '../../src/oci/media-types.ts';
import type { ManifestStore, TagRecord } from '../../src/store/manifests.ts';

export const GOLANG = { host: 'docker.io', name: 'library/golang' };
export const OTHER = { host: 'docker.io', name: 'library/golang-other' };

export function manifest(text: string): Manifest {
  const config = {
    mediaType: 'application/vnd.oci.image.config.v1+json',
    digest: digestOf(Buffer.from(text)),
    size: 1,
  };
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, config, layers: [] }));
  return manifestOf({ digest: digestOf(bytes), mediaType: OCI_MANIFEST, bytes });
}

export function record(text: string, checkedAt: number, more: Partial<TagRecord> = {}): TagRecord {
  return {
    descriptor: manifest(text).descriptor,
    checkedAt,
    confirmedAt: checkedAt,
    ...more,
  };
}

/** What every manifest store promises; `open` gives an empty one that is closed when the test ends. */
export function manifestStoreContract(name: string, open: () => Promise<ManifestStore>): void {
  describe(`${name}, as a manifest store,`, () => {
    it('knows nothing at first', async () => {
      const store = await open();
      expect(await store.getManifest(manifest('a').descriptor.digest)).toBeUndefined();
      expect(await store.getTag(GOLANG, 'latest')).toBeUndefined();
      expect(await store.getLink(GOLANG, manifest('a').descriptor.digest)).toBeUndefined();
      expect(await store.getRepository(GOLANG)).toBeUndefined();
    });

    it('gives manifests back byte for byte with their type', async () => {
      const store = await open();
      await store.putManifest(manifest('a'));
      await store.putManifest(manifest('b'));
      expect(await store.getManifest(manifest('a').descriptor.digest)).toEqual(manifest('a'));
      expect(await store.getManifest(manifest('b').descriptor.digest)).toEqual(manifest('b'));
    });

    it('keeps tags apart by repository and name', async () => {
      const store = await open();
      await store.putTag(GOLANG, 'latest', record('a', 1));
      await store.putTag(GOLANG, '1.22', record('b', 2, { failure: 'why' }));
      await store.putTag(OTHER, 'latest', record('c', 3));
      expect(await store.getTag(GOLANG, 'latest')).toEqual(record('a', 1));
      expect(await store.getTag(GOLANG, '1.22')).toEqual(record('b', 2, { failure: 'why' }));
      expect(await store.getTag(OTHER, 'latest')).toEqual(record('c', 3));
    });

    it('keeps the newest record of a tag, whatever the order in which they come', async () => {
      const store = await open();
      await store.putTag(GOLANG, 'latest', record('new', 20));
      await store.putTag(GOLANG, 'latest', record('old', 10));
      expect(await store.getTag(GOLANG, 'latest')).toEqual(record('new', 20));
      await store.putTag(GOLANG, 'latest', record('newer', 30));
      expect(await store.getTag(GOLANG, 'latest')).toEqual(record('newer', 30));
    });

    it('lets a check that failed take nothing back that was confirmed while it ran', async () => {
      const store = await open();
      await store.putTag(GOLANG, 'latest', record('old', 10));
      const failed = record('old', 30, { confirmedAt: 10, failure: 'why' });
      await store.putTag(GOLANG, 'latest', record('moved', 20));
      await store.putTag(GOLANG, 'latest', failed);
      expect(await store.getTag(GOLANG, 'latest')).toEqual(record('moved', 20));
      const again = record('moved', 40, { confirmedAt: 20, failure: 'why' });
      await store.putTag(GOLANG, 'latest', again);
      expect(await store.getTag(GOLANG, 'latest')).toEqual(again);
      await store.putTag(GOLANG, 'latest', record('confirmed', 35));
      expect(await store.getTag(GOLANG, 'latest')).toEqual(record('confirmed', 35));
    });

    it('forgets a tag that was deleted', async () => {
      const store = await open();
      await store.putTag(GOLANG, 'latest', record('a', 1));
      await store.deleteTag(GOLANG, 'latest');
      expect(await store.getTag(GOLANG, 'latest')).toBeUndefined();
    });

    it('keeps links by repository, and prefers what a manifest says', async () => {
      const store = await open();
      const { digest } = manifest('a').descriptor;
      await store.putLinks(GOLANG, new Map([[digest, { by: 'manifest', size: 5 }]]));
      await store.putLinks(GOLANG, new Map([[digest, { by: 'upstream' }]]));
      expect(await store.getLink(GOLANG, digest)).toEqual({ by: 'manifest', size: 5 });
      expect(await store.getLink(OTHER, digest)).toBeUndefined();
      await store.putLinks(OTHER, new Map([[digest, { by: 'upstream' }]]));
      await store.putLinks(OTHER, new Map([[digest, { by: 'manifest', size: 5 }]]));
      expect(await store.getLink(OTHER, digest)).toEqual({ by: 'manifest', size: 5 });
    });

    it('keeps offers by repository, and takes none for a link, nor a link for one', async () => {
      const store = await open();
      const [one, two] = [manifest('a').descriptor.digest, manifest('b').descriptor.digest];
      await store.putOffers(GOLANG, [one]);
      await store.putLinks(GOLANG, new Map([[two, { by: 'upstream' }]]));
      expect([await store.isOffered(GOLANG, one), await store.isOffered(GOLANG, two)]).toEqual([true, false]);
      expect(await store.getLink(GOLANG, one)).toBeUndefined();
      expect(await store.isOffered(OTHER, one)).toBe(false);
      await store.putLinks(GOLANG, new Map([[one, { by: 'upstream' }]]));
      expect(await store.getLink(GOLANG, one)).toEqual({ by: 'upstream' });
    });

    it('keeps that a repository is public, until it is known not to be', async () => {
      const store = await open();
      const publicAt = Date.now();
      await store.putRepository(GOLANG, { publicAt });
      await store.putRepository(OTHER, { publicAt });
      await store.putRepository(OTHER, { restricted: true });
      expect(await store.getRepository(GOLANG)).toEqual({ publicAt });
      expect((await store.getRepository(OTHER))?.publicAt).toBeUndefined();
    });
  });
}
