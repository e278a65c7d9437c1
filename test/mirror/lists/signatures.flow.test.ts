import { describe, expect, it } from 'vitest';
import type { Digest } from '../../../src/oci/digest.ts';
import { OCI_INDEX, OCI_MANIFEST } from '../../../src/oci/media-types.ts';
import { referrersTag } from '../../../src/oci/referrers.ts';
import { bytesContent } from '../../fake/content.ts';
import type { ImageContent } from '../../fake/library.ts';
import { manifestDescriptor, storedManifest } from '../../fixtures/images.ts';
import { listOf } from '../../fixtures/lists.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { filledHub, GOLANG } from '../../support/filled-hub.ts';

const { digest } = GOLANG.image.root;

/** What cosign pushes: a manifest with one layer, and a config that nobody runs. */
function artifact(layerType: string, text: string): ImageContent {
  const config = bytesContent(Buffer.from('{}'));
  const layer = bytesContent(Buffer.from(text));
  const descriptor = (mediaType: string, content: typeof layer) => {
    return { mediaType, digest: content.digest, size: content.size };
  };
  const root = storedManifest(OCI_MANIFEST, {
    config: descriptor('application/vnd.oci.image.config.v1+json', config),
    layers: [descriptor(layerType, layer)],
  });
  return { root, manifests: [root], blobs: [config, layer] };
}

/** As cosign names them: by the digest that they speak of. */
const ARTIFACTS = new Map([
  ['sig', artifact('application/vnd.dev.cosign.simplesigning.v1+json', 'signature')],
  ['sbom', artifact('text/spdx+json', 'what is in it')],
  ['att', artifact('application/vnd.dsse.envelope.v1+json', 'provenance')],
]);
const bundle = artifact('application/vnd.dev.sigstore.bundle.v0.3+json', 'bundle');

/** The requests of cosign, for one of them; the bytes of its layer. */
async function verified(app: TestApp, reference: string): Promise<string> {
  const head = await app.head(`/v2/library/golang/manifests/${reference}`);
  expect(head.status).toBe(200);
  const tagged = await app.get(`/v2/library/golang/manifests/${reference}`);
  const named = head.header('docker-content-digest') ?? '';
  expect((await app.get(`/v2/library/golang/manifests/${named}`)).body.equals(tagged.body)).toBe(true);
  const { layers } = JSON.parse(tagged.body.toString()) as { layers: { digest: Digest }[] };
  const blob = await app.get(`/v2/library/golang/blobs/${layers[0]?.digest ?? ''}`);
  expect(blob.status).toBe(200);
  return blob.body.toString();
}

async function hubWithSignatures() {
  const hub = await filledHub();
  for (const [kind, image] of ARTIFACTS) {
    hub.add({ repository: 'library/golang', tags: [`${referrersTag(digest)}.${kind}`], image });
  }
  hub.add({ repository: 'library/golang', tags: [], image: bundle });
  return hub;
}

describe('signatures and SBOMs of a cached image', () => {
  it('that cosign puts under tags are there without upstream, once they were asked for', async () => {
    const hub = await hubWithSignatures();
    const app = await startTestApp({ hub, flags: { tagTtl: '0s' } });
    const all = async (from: TestApp) => {
      const texts: string[] = [];
      for (const kind of ARTIFACTS.keys()) {
        texts.push(await verified(from, `${referrersTag(digest)}.${kind}`));
      }
      return texts;
    };
    const expected = ['signature', 'what is in it', 'provenance'];
    expect(await all(app)).toEqual(expected);
    await hub.stop();
    expect(await all(app)).toEqual(expected);
    await app.stop();
    const offline = await startTestApp({ hub, dataDir: app.dataDir, flags: { offline: true } });
    expect(await all(offline)).toEqual(expected);
    const unseen = await offline.head(`/v2/library/golang/manifests/${referrersTag(digest)}.other`);
    expect(unseen.status).toBe(503);
  });

  it.each(['the referrers API', 'the referrers tag schema'])(
    'that are found by %s are there without upstream, once they were asked for',
    async (how) => {
      const hub = await hubWithSignatures();
      const entry = {
        ...manifestDescriptor(bundle.root),
        artifactType: 'application/vnd.dev.sigstore.bundle.v0.3+json',
      };
      if (how === 'the referrers API') hub.setReferrers('library/golang', digest, [entry]);
      else {
        const image = listOf([entry], []);
        hub.add({ repository: 'library/golang', tags: [referrersTag(digest)], image });
      }
      const found = async (from: TestApp): Promise<string> => {
        const api = await from.get(`/v2/library/golang/referrers/${digest}`);
        const list =
          api.status === 404 ? await from.get(`/v2/library/golang/manifests/${referrersTag(digest)}`) : api;
        expect(list.header('content-type')).toBe(OCI_INDEX);
        const { manifests } = JSON.parse(list.body.toString()) as { manifests: { digest: Digest }[] };
        return verified(from, manifests[0]?.digest ?? 'none');
      };
      const app = await startTestApp({ hub });
      await app.get('/v2/library/golang/manifests/latest');
      expect(await found(app)).toBe('bundle');
      await app.stop();
      const offline = await startTestApp({ hub, dataDir: app.dataDir, flags: { offline: true } });
      expect(await found(offline)).toBe('bundle');
    },
  );
});
