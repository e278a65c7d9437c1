import { describe, expect, it } from 'vitest';
import { digestOf } from '../../../src/oci/digest.ts';
import { OCI_INDEX } from '../../../src/oci/media-types.ts';
import { image, LINUX_AMD64 } from '../../fixtures/images.ts';
import { startTestApp } from '../../support/app.ts';
import { exportFrom } from '../../support/bundles.ts';
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

const nested = listOf({ digest: ofManifest.digest, mediaType: OCI_INDEX, size: ofManifest.bytes.length });

/** Carol's image is in the cache, and served in her repository; lists in another one name what is hers. */
async function cachedSecret(
  flags: Readonly<Record<string, string>> = {},
  rules: Readonly<Record<string, string>> = {},
) {
  const hub = await filledHub();
  hub.add({ repository: 'carol/secret', tags: ['latest'], image: secret, readers: ['carol'] });
  hub.addManifest('library/plain', ofManifest, ['trap']);
  hub.addManifest('library/plain', ofLayer, ['trap-of-layer']);
  hub.addManifest('library/plain', nested, ['trap-of-traps']);
  hub.setReferrers('library/plain', ofLayer.digest, [{ digest, mediaType, size: bytes.length }]);
  const env = {
    PIERHEAD_UPSTREAM_USERNAME: 'carol',
    PIERHEAD_UPSTREAM_PASSWORD: 'secret',
    PIERHEAD_UPSTREAM_PRIVATE: 'carol/*',
    ...rules,
  };
  const app = await startTestApp({ hub, env, flags });
  const status = async (target: string, accept?: string) =>
    (await app.get(target, { headers: accept === undefined ? [] : [['Accept', accept]] })).status;
  expect(await status('/v2/carol/secret/manifests/latest')).toBe(200);
  for (const blob of secret.blobs) expect(await status(`/v2/carol/secret/blobs/${blob.digest}`)).toBe(200);
  return { app, hub, status };
}

describe('a list that names what its repository does not hold', () => {
  it.each(['manifests', 'off'])('opens nothing by digest (readAhead %s)', async (readAhead) => {
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

/** Rules that name tags let clients ask for each digest that such a tag leads to. */
const RULES = {
  'that allow tags': { PIERHEAD_UPSTREAM_ALLOW: 'library/plain:trap*,carol/secret' },
  'that deny tags': { PIERHEAD_UPSTREAM_DENY: 'library/plain:latest' },
};

describe.each(Object.entries(RULES))(
  'with rules %s, what a repository names and does not hold',
  (_, rules) => {
    type Test = Awaited<ReturnType<typeof cachedSecret>>;

    /** What is named may be asked for, and is not there; what is not named may not be asked for. */
    async function expectClosed({ app, status }: Test, named: readonly string[]): Promise<void> {
      await app.caughtUp();
      for (const way of ['manifests', 'blobs']) {
        for (const each of [digest, ...secret.blobs.map((blob) => blob.digest)]) {
          const target = `/v2/library/plain/${way}/${each}`;
          const expected = named.includes(each) ? 404 : 403;
          expect((await app.head(target)).status, `HEAD ${target}`).toBe(expected);
          expect(await status(target), target).toBe(expected);
        }
      }
    }

    it.each(['manifests', 'off'])('is not opened by an index (readAhead %s)', async (readAhead) => {
      const test = await cachedSecret({ readAhead, defaultPlatform: 'linux/amd64' }, rules);
      for (const tag of ['trap', 'trap-of-layer'])
        expect(await test.status(`/v2/library/plain/manifests/${tag}`, OCI_INDEX)).toBe(200);
      await expectClosed(test, [digest, layer?.digest ?? '']);
    });

    it('is not opened by an index that is pulled by digest, or lies in another one', async () => {
      const test = await cachedSecret({}, rules);
      expect((await test.app.head('/v2/library/plain/manifests/trap-of-traps')).status).toBe(200);
      for (const each of [nested, ofManifest])
        expect(await test.status(`/v2/library/plain/manifests/${each.digest}`, OCI_INDEX)).toBe(200);
      await expectClosed(test, [digest]);
    });

    it('is not opened by a list of referrers', async () => {
      const test = await cachedSecret({}, rules);
      expect(await test.status('/v2/library/plain/manifests/trap-of-layer', OCI_INDEX)).toBe(200);
      expect(await test.status(`/v2/library/plain/referrers/${ofLayer.digest}`)).toBe(200);
      await expectClosed(test, [digest, layer?.digest ?? '']);
    });

    it('is not chosen for a client that takes no index, once another one was given the index', async () => {
      const test = await cachedSecret({ defaultPlatform: 'linux/amd64' }, rules);
      for (const [accept, expected] of [
        [OCI_INDEX, 200],
        [mediaType, 404],
      ] as const)
        expect(await test.status('/v2/library/plain/manifests/trap', accept)).toBe(expected);
      await expectClosed(test, [digest]);
    });

    it('is not exported with what names it', async () => {
      const { app, status } = await cachedSecret({}, rules);
      expect(await status('/v2/library/plain/manifests/trap', OCI_INDEX)).toBe(200);
      await status(`/v2/library/plain/manifests/${digest}`);
      await app.stop();
      for (const name of ['library/plain:trap', `library/plain@${digest}`]) {
        const { plan } = await exportFrom(app.dataDir, [name]);
        expect(plan.images, name).toEqual([]);
      }
    });

    it('is served once the repository holds it, as upstream then says', async () => {
      const { hub, status } = await cachedSecret({}, rules);
      expect(await status('/v2/library/plain/manifests/trap', OCI_INDEX)).toBe(200);
      const pulls = hub.count({ kind: 'manifest', method: 'GET' });
      hub.add({ repository: 'library/plain', tags: [], image: secret });
      expect(await status(`/v2/library/plain/manifests/${digest}`)).toBe(200);
      for (const blob of secret.blobs)
        expect(await status(`/v2/library/plain/blobs/${blob.digest}`)).toBe(200);
      expect(hub.count({ kind: 'manifest', method: 'GET' })).toBe(pulls);
    });
  },
);
