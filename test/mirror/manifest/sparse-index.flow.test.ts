import { describe, expect, it } from 'vitest';
import { digestOf } from '../../../src/oci/digest.ts';
import { OCI_INDEX } from '../../../src/oci/media-types.ts';
import { image, LINUX_AMD64 } from '../../fixtures/images.ts';
import { startTestApp } from '../../support/app.ts';
import { filledHub } from '../../support/filled-hub.ts';

const secret = image({ message: 'only for carol' });
const [layer] = secret.layers;

/** What anybody can push to a registry that takes lists without what they name (OCI distribution-spec: it may). */
function listOf(descriptor: { readonly mediaType: string; readonly digest: string; readonly size: number }) {
  const document = {
    schemaVersion: 2,
    mediaType: OCI_INDEX,
    manifests: [{ ...descriptor, platform: LINUX_AMD64 }],
  };
  const bytes = Buffer.from(JSON.stringify(document));
  return { digest: digestOf(bytes), mediaType: OCI_INDEX, bytes };
}

const { digest, mediaType, bytes } = secret.root;
const ofManifest = listOf({ digest, mediaType, size: bytes.length });
const ofLayer = listOf({ digest: layer?.digest ?? '', mediaType, size: layer?.size ?? 0 });

/** Carol's image is in the cache, and served in her repository; lists in another one name what is hers. */
async function cachedSecret(flags: Readonly<Record<string, string>> = {}) {
  const hub = await filledHub();
  hub.add({ repository: 'carol/secret', tags: ['latest'], image: secret, readers: ['carol'] });
  hub.addManifest('library/plain', ofManifest, ['trap']);
  hub.addManifest('library/plain', ofLayer, ['trap-of-layer']);
  const env = {
    PIERHEAD_UPSTREAM_USERNAME: 'carol',
    PIERHEAD_UPSTREAM_PASSWORD: 'secret',
    PIERHEAD_UPSTREAM_PRIVATE: 'carol/*',
  };
  const app = await startTestApp({ hub, env, flags });
  const status = async (target: string, accept?: string) =>
    (await app.get(target, { headers: accept === undefined ? [] : [['Accept', accept]] })).status;
  expect(await status('/v2/carol/secret/manifests/latest')).toBe(200);
  for (const blob of secret.blobs) expect(await status(`/v2/carol/secret/blobs/${blob.digest}`)).toBe(200);
  return { app, status };
}

describe('a list that names what its repository does not hold', () => {
  it.each(['manifests', 'layers', 'off'])('opens nothing by digest (readAhead %s)', async (readAhead) => {
    const { app, status } = await cachedSecret({ readAhead, defaultPlatform: 'linux/amd64' });
    for (const tag of ['trap', 'trap-of-layer']) {
      expect(await status(`/v2/library/plain/manifests/${tag}`, OCI_INDEX)).toBe(200);
    }
    await app.caughtUp();
    for (const way of ['manifests', 'blobs']) {
      for (const each of [digest, ...secret.blobs.map((blob) => blob.digest)])
        expect(await status(`/v2/library/plain/${way}/${each}`), `${way} ${each}`).toBe(404);
    }
  });

  it('is not resolved for a client that takes no lists', async () => {
    const { status } = await cachedSecret({ defaultPlatform: 'linux/amd64' });
    expect(await status('/v2/library/plain/manifests/trap', mediaType)).toBe(404);
    for (const blob of secret.blobs) expect(await status(`/v2/library/plain/blobs/${blob.digest}`)).toBe(404);
  });
});
