import { describe, expect, it } from 'vitest';
import { RepositoryAccess } from '../../../src/mirror/access/access.ts';
import { ContentLinks } from '../../../src/mirror/access/links.ts';
import { PullRules, TagScope } from '../../../src/mirror/access/rules.ts';
import { Prefetcher } from '../../../src/mirror/after-pull/prefetch.ts';
import { NegativeCache } from '../../../src/mirror/answer/negative-cache.ts';
import { ClientPlatforms } from '../../../src/mirror/manifest/clients.ts';
import { IndexEntries } from '../../../src/mirror/manifest/entries.ts';
import { ManifestFetcher } from '../../../src/mirror/manifest/fetch.ts';
import { FleetSingleFlight } from '../../../src/mirror/manifest/fleet.ts';
import type { ServedManifest } from '../../../src/mirror/manifest/manifests.ts';
import { digestOf, type Digest } from '../../../src/oci/digest.ts';
import { manifestOf } from '../../../src/oci/manifest.ts';
import { OCI_MANIFEST } from '../../../src/oci/media-types.ts';
import { createMemoryStore } from '../../../src/store/manifest/local.ts';
import type { StoredManifest } from '../../fake/library.ts';
import { image, LINUX_AMD64, manifestDescriptor, storedManifest } from '../../fixtures/images.ts';
import { absentEntry, entryOf, listOf } from '../../fixtures/lists.ts';
import { GOLANG } from '../../support/filled-hub.ts';
import { blobsNamedBy } from '../../support/image-digests.ts';
import { tellNobody, tellTo } from '../../support/told.ts';
import { hubAndUpstream } from '../../support/upstream-client.ts';

const repository = { host: 'docker.io', name: 'library/golang' };

/** Reading ahead as for a Docker Engine; the budget says yes as often as it is told to. */
async function readAhead(pulls: number) {
  const { hub, upstream } = await hubAndUpstream();
  const store = createMemoryStore({ maxManifestBytes: 2 ** 20 });
  const scope = new TagScope(new PullRules({}), store);
  const access = new RepositoryAccess({ store, scope, privatePatterns: new Map(), now: Date.now });
  const negative = new NegativeCache(10_000);
  const fleet = new FleetSingleFlight({ lock: undefined, maxWaitMs: 8000, tell: tellNobody });
  const entries = new IndexEntries();
  const wanted: Digest[] = [];
  const errors: unknown[] = [];
  let left = pulls;
  const ahead = new Prefetcher({
    mode: 'manifests',
    platforms: [],
    store,
    links: new ContentLinks(store),
    fetcher: new ManifestFetcher({ store, access, negative, fleet, now: Date.now }),
    negative,
    entries,
    clients: new ClientPlatforms({ os: 'linux', architecture: 'amd64' }),
    blobs: {
      prefetch: ({ digest }) => {
        wanted.push(digest);
        return Promise.resolve({ stored: Promise.resolve(true) });
      },
    },
    mayPrefetch: () => left-- > 0,
    tell: tellTo({ fault: ({ error }) => errors.push(error) }),
  });
  const serve = async (stored: StoredManifest): Promise<void> => {
    const manifest = manifestOf(stored);
    entries.note(manifest);
    const served: ServedManifest = {
      upstream,
      request: {
        repository,
        reference: { kind: 'digest', digest: stored.digest },
        client: {
          address: '10.0.0.1',
          accept: undefined,
          userAgent: 'docker/28.5.2 os/linux arch/amd64',
          platform: undefined,
          rule: undefined,
        },
        headOnly: false,
      },
      answer: { manifest, cache: 'stored' },
    };
    ahead.manifestServed(served);
    await ahead.settled();
    expect(errors).toEqual([]);
  };
  const got = () =>
    hub.requests
      .filter(({ kind, status }) => kind === 'manifest' && status === 200)
      .map(({ reference }) => reference);
  return { hub, serve, got, wanted };
}

const amd64 = GOLANG.image.images.get('linux/amd64');
if (amd64 === undefined) throw new Error('the fixture has linux/amd64');
const [attestation] = GOLANG.image.attestations;

describe('what nobody has asked for', () => {
  it('is not fetched when the budget is low, attestations included', async () => {
    const { serve, got, wanted } = await readAhead(0);
    await serve(GOLANG.image.root);
    await serve(amd64.root);
    expect(got()).toEqual([]);
    expect(wanted).toEqual([]);
  });

  it('is fetched as long as there are pulls, the manifest first and what speaks of it after', async () => {
    const { serve, got } = await readAhead(100);
    await serve(GOLANG.image.root);
    expect(got()).toEqual([amd64.root.digest, attestation?.digest]);
  });

  it('ends with the manifest if that was the last pull', async () => {
    const { serve, got, wanted } = await readAhead(1);
    await serve(GOLANG.image.root);
    expect(got()).toEqual([amd64.root.digest]);
    expect(wanted).toEqual([]);
  });
});

describe('what an attestation states', () => {
  it('is fetched though its manifest was the last pull: blobs cost none', async () => {
    const { serve, got, wanted } = await readAhead(2);
    await serve(GOLANG.image.root);
    expect(got()).toEqual([amd64.root.digest, attestation?.digest]);
    expect(wanted).toEqual(blobsNamedBy(attestation?.bytes));
  });
});

describe('what an index calls an attestation', () => {
  const subject = image({ platform: LINUX_AMD64, message: 'attested' });
  const config = {
    mediaType: 'application/vnd.oci.image.config.v1+json',
    digest: digestOf(Buffer.from('{}')),
    size: 2,
  };
  const statement = (name: string, size: number) => ({
    ...absentEntry(name),
    mediaType: 'application/vnd.in-toto+json',
    size,
  });

  /** What is wanted after an image was served whose attestation has these layers. */
  async function wantedOf(layers: readonly object[]): Promise<readonly Digest[]> {
    const manifest = storedManifest(OCI_MANIFEST, { config, layers });
    const annotations = {
      'vnd.docker.reference.digest': subject.root.digest,
      'vnd.docker.reference.type': 'attestation-manifest',
    };
    const entry = { ...manifestDescriptor(manifest), annotations };
    const attested = { root: manifest, manifests: [manifest], blobs: [] };
    const { hub, serve, got, wanted } = await readAhead(100);
    const list = listOf([entryOf(subject), entry], [subject, attested]);
    hub.add({ repository: repository.name, image: list });
    await serve(list.root);
    expect(got()).toContain(manifest.digest);
    return wanted.filter((digest) => digest !== subject.config.digest);
  }

  it('has its config and layers fetched as far as one attestation can have them', async () => {
    const layers = [statement('provenance', 10_000), statement('bill of materials', 20_000_000)];
    expect(await wantedOf(layers)).toHaveLength(3);
  });

  it.each([
    ['10,000 layers', Array.from({ length: 10_000 }, (_, n) => statement(`${n}`, 1_000_000_000))],
    ['a layer of 1 GB', [statement('0', 1_000_000_000)]],
    ['17 layers', Array.from({ length: 17 }, (_, n) => statement(`${n}`, 1))],
    ['the layers of an image', subject.layers],
  ])('has nothing fetched if it has %s', async (_, layers) => {
    expect(await wantedOf(layers)).toEqual([]);
  });
});
