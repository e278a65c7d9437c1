import { describe, expect, it } from 'vitest';
import type { Digest } from '../../../src/oci/digest.ts';
import { DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST } from '../../../src/oci/media-types.ts';
import type { FakeHub } from '../../fake/hub.ts';
import { multiPlatform, type Image, type MultiPlatformImage } from '../../fixtures/images.ts';
import { startTestApp, type TestApp, type TestAppOptions } from '../../support/app.ts';
import { filledHub, GOLANG, served } from '../../support/filled-hub.ts';
import { blobsNamedBy } from '../../support/image-digests.ts';
import { metric } from '../../support/metrics.ts';
import { eventually } from '../../support/wait.ts';

type Headers = readonly (readonly [string, string])[];
const LISTS: Headers = [['Accept', `${OCI_INDEX}, ${DOCKER_LIST}, ${OCI_MANIFEST}, ${DOCKER_MANIFEST}`]];
const DOCKER: Headers = [...LISTS, ['User-Agent', 'docker/28.5.2 go/go1.24 os/linux arch/amd64']];
const CONTAINERD: Headers = [...LISTS, ['User-Agent', 'containerd/v2.3.4']];

const TAG = '/v2/library/golang/manifests/latest';
const manifestUrl = (digest: string) => `/v2/library/golang/manifests/${digest}`;
const blobUrl = (digest: string) => `/v2/library/golang/blobs/${digest}`;

function childOf(list: MultiPlatformImage, platform: string): Image {
  const child = list.images.get(platform);
  if (child === undefined) throw new Error(`the list has no ${platform}`);
  return child;
}

/** The attestation that a list holds for its n-th Linux image. */
function attestation(n: number): Digest {
  const digest = GOLANG.image.attestations[n]?.digest;
  if (digest === undefined) throw new Error(`no attestation ${n}`);
  return digest;
}

/** The config and the statement of that. */
function statements(n: number): Digest[] {
  return blobsNamedBy(GOLANG.image.attestations[n]?.bytes);
}

const amd64 = childOf(GOLANG.image, 'linux/amd64');
const arm64 = childOf(GOLANG.image, 'linux/arm64/v8');

async function start(
  options: Partial<TestAppOptions> = {},
): Promise<{ readonly hub: FakeHub; readonly app: TestApp }> {
  const hub = await filledHub();
  return { hub, app: await startTestApp({ hub, ...options }) };
}

/** Of the manifests that were got whole. */
const got = (hub: FakeHub): string[] =>
  hub.requests
    .filter(({ kind, method, status }) => kind === 'manifest' && method === 'GET' && status === 200)
    .map(({ reference = '' }) => reference);

/** Of the blob bodies that were asked for, in this order. */
const bodies = (hub: FakeHub): string[] =>
  hub.requests
    .filter(({ host, method }) => host === 'blobs' && method === 'GET')
    .map(({ reference = '' }) => reference);

const counted = (app: TestApp, kind: string, count: number): Promise<true> =>
  eventually(
    async () => (await metric(app, 'pierhead_read_ahead_total', `kind="${kind}"`)) === count,
    `${count} of kind ${kind} to be read ahead`,
  );

describe('a list that goes to a client whose platform is known', () => {
  it('has its manifest, config and attestation fetched before they are asked for, each once', async () => {
    const { hub, app } = await start();
    await app.get(TAG, { headers: DOCKER });
    await counted(app, 'manifest', 1);
    await counted(app, 'config', 1);
    await counted(app, 'attestation', 1);
    const child = await app.get(manifestUrl(amd64.root.digest), { headers: DOCKER });
    expect(child.header('cache-status')).toBe('pierhead; hit');
    const config = await app.get(blobUrl(amd64.config.digest), { headers: DOCKER });
    expect(config.header('cache-status')).toBe('pierhead; hit');
    expect((await app.get(manifestUrl(attestation(0)))).header('cache-status')).toBe('pierhead; hit');
    await counted(app, 'statement', 2);
    for (const digest of statements(0)) {
      expect((await app.get(blobUrl(digest))).header('cache-status')).toBe('pierhead; hit');
    }
    expect(got(hub)).toHaveLength(3);
    expect(served(hub, { host: 'blobs', method: 'GET' })).toBe(3);
    for (const { digest } of amd64.layers) expect(hub.count({ reference: digest })).toBe(0);
  });

  it('has them fetched once although the client asks meanwhile', async () => {
    const { hub, app } = await start();
    const held = hub.fault({
      match: { kind: 'manifest', method: 'GET', reference: amd64.root.digest },
      do: { holdHeaders: true },
    });
    await app.get(TAG, { headers: DOCKER });
    await held.reached;
    const asked = app.get(manifestUrl(amd64.root.digest), { headers: DOCKER });
    await app.caughtUp();
    held.release();
    expect((await asked).header('cache-status')).toBe('pierhead; fwd=uri-miss; collapsed');
    expect(got(hub).filter((reference) => reference === amd64.root.digest)).toHaveLength(1);
  });

  it('costs nothing when all is there, or when only a HEAD asks', async () => {
    const { hub, app } = await start();
    await app.get(TAG, { headers: DOCKER });
    await counted(app, 'config', 1);
    await counted(app, 'statement', 2);
    const before = hub.requests.length;
    await app.get(TAG, { headers: DOCKER });
    await app.get(manifestUrl(GOLANG.image.root.digest), { headers: DOCKER });
    await app.stop();
    expect(hub.requests).toHaveLength(before);
    const { hub: other, app: asked } = await start();
    await asked.head(TAG, { headers: DOCKER });
    await asked.stop();
    expect(got(other)).toEqual([]);
  });

  it('goes out all the same if its manifest cannot be had, which is not asked for again and again', async () => {
    const { hub, app } = await start();
    hub.removeContent('library/golang', amd64.root.digest);
    for (let n = 0; n < 3; n++) {
      expect((await app.get(TAG, { headers: DOCKER })).status).toBe(200);
      await hub.waitFor(({ reference, closed }) => reference === amd64.root.digest && closed, 'the GET');
    }
    expect((await app.get(manifestUrl(amd64.root.digest))).status).toBe(404);
    await app.stop();
    expect(served(hub, { kind: 'manifest', reference: amd64.root.digest })).toBe(1);
    expect(app.log.filter(({ kind }) => kind === 'read-ahead')).toEqual([]);
  });

  it('is not asked for again with each client while upstream has no answer', async () => {
    const { hub, app } = await start();
    const match = { kind: 'manifest', method: 'GET', reference: amd64.root.digest } as const;
    hub.fault({ match, do: { status: { code: 403 } } });
    await app.get(TAG, { headers: DOCKER });
    await hub.waitFor(({ reference, closed }) => reference === amd64.root.digest && closed, 'the GET');
    await app.caughtUp();
    const before = hub.requests.length;
    for (let n = 0; n < 20; n++) await app.get(TAG, { headers: DOCKER });
    await app.stop();
    expect(hub.requests).toHaveLength(before);
  });

  it('takes one place, however many clients get it at once, so that others have theirs', async () => {
    const { hub, app } = await start();
    const second = multiPlatform({ message: 'second' });
    hub.add({ repository: 'library/second', tags: ['latest'], image: second });
    const held = hub.fault({
      match: { kind: 'manifest', method: 'GET', reference: amd64.root.digest },
      do: { holdHeaders: true },
    });
    await app.get(TAG, { headers: DOCKER });
    await held.reached;
    await Promise.all(Array.from({ length: 100 }, () => app.get(TAG, { headers: DOCKER })));
    await app.get('/v2/library/second/manifests/latest', { headers: DOCKER });
    await counted(app, 'manifest', 1);
    expect(got(hub)).toContain(childOf(second, 'linux/amd64').root.digest);
    held.release();
    await counted(app, 'manifest', 2);
  });

  it('does not keep the server from stopping while upstream hangs', async () => {
    const { hub, app } = await start();
    const held = hub.fault({
      match: { kind: 'manifest', reference: amd64.root.digest },
      do: { holdHeaders: true },
    });
    await app.get(TAG, { headers: DOCKER });
    await held.reached;
    await app.stop();
    expect(got(hub)).toEqual(['latest']);
  });
});

describe('a list that goes to a client that does not say what it is', () => {
  it('has nothing fetched, until such a client was seen to take one platform', async () => {
    const { hub, app } = await start();
    const second = multiPlatform({ message: 'second' });
    hub.add({ repository: 'library/second', tags: ['latest'], image: second });
    await app.get(TAG, { headers: CONTAINERD });
    await app.caughtUp();
    expect(got(hub)).toEqual(['latest']);
    await app.get(manifestUrl(arm64.root.digest), { headers: CONTAINERD });
    await counted(app, 'attestation', 1);
    await app.get('/v2/library/second/manifests/latest', { headers: CONTAINERD });
    await counted(app, 'manifest', 1);
    expect(got(hub)).toContain(childOf(second, 'linux/arm64/v8').root.digest);
  });

  it('has nothing fetched any more once clients of its address took several', async () => {
    const { hub, app } = await start();
    const second = multiPlatform({ message: 'second' });
    hub.add({ repository: 'library/second', tags: ['latest'], image: second });
    await app.get(TAG, { headers: CONTAINERD });
    for (const { root } of [arm64, amd64]) await app.get(manifestUrl(root.digest), { headers: CONTAINERD });
    await app.get('/v2/library/second/manifests/latest', { headers: CONTAINERD });
    await app.stop();
    expect(
      got(hub).filter((reference) => second.manifests.some(({ digest }) => digest === reference)),
    ).toEqual([]);
  });

  it('has the manifest of the only platform that there is fetched', async () => {
    const { hub, app } = await start({ flags: { platforms: 'linux/arm64' } });
    await app.get(TAG, { headers: CONTAINERD });
    await counted(app, 'manifest', 1);
    expect(got(hub)).toContain(arm64.root.digest);
  });

  it('is not given what was learnt: by tag it gets what it would have got before', async () => {
    const { app } = await start();
    await app.get(TAG, { headers: CONTAINERD });
    await app.get(manifestUrl(arm64.root.digest), { headers: CONTAINERD });
    const answer = await app.get(TAG, { headers: [['Accept', OCI_MANIFEST]] });
    expect(answer.header('docker-content-digest')).toBe(amd64.root.digest);
  });
});

describe('what is read ahead', () => {
  it('is for the platforms of the settings only', async () => {
    const { hub, app } = await start({ flags: { platforms: 'linux/arm64,linux/s390x' } });
    await app.get(TAG, { headers: DOCKER });
    await app.stop();
    expect(got(hub)).toEqual(['latest']);
  });

  it('is nothing of a repository that may not be shown, and is had with its credentials from one that may', async () => {
    const hub = await filledHub();
    const list = multiPlatform({ message: 'private' });
    hub.add({ repository: 'carol/list', tags: ['latest'], image: list, readers: ['carol'] });
    const credentials = { PIERHEAD_UPSTREAM_USERNAME: 'carol', PIERHEAD_UPSTREAM_PASSWORD: 'secret' };
    const target = '/v2/carol/list/manifests/latest';
    const closed = await startTestApp({ hub, env: credentials });
    expect((await closed.get(target, { headers: DOCKER })).status).toBe(404);
    await closed.stop();
    expect(got(hub)).toEqual([]);
    const env = { ...credentials, PIERHEAD_UPSTREAM_PRIVATE: 'carol/*' };
    const open = await startTestApp({ hub, env });
    expect((await open.get(target, { headers: DOCKER })).status).toBe(200);
    await counted(open, 'config', 1);
    expect(got(hub)).toContain(childOf(list, 'linux/amd64').root.digest);
  });

  it('is nothing while upstream is not to be asked, and no error', async () => {
    const { hub, app } = await start({ flags: { readAhead: 'off' } });
    await app.get(TAG, { headers: DOCKER });
    await app.stop();
    const before = hub.requests.length;
    const { dataDir } = app;
    const offline = await startTestApp({ hub, dataDir, flags: { offline: true, readAhead: 'manifests' } });
    expect((await offline.get(TAG, { headers: DOCKER })).status).toBe(200);
    await offline.stop();
    expect(hub.requests).toHaveLength(before);
    await hub.stop();
    const cutOff = await startTestApp({ hub, dataDir, flags: { tagTtl: '0s', readAhead: 'manifests' } });
    expect((await cutOff.get(TAG, { headers: DOCKER })).status).toBe(200);
    await cutOff.stop();
    const errors = [...offline.log, ...cutOff.log].filter(({ kind }) => kind === 'read-ahead');
    expect(errors).toEqual([]);
  });

  it('is nothing if it is switched off, but for the attestation that belongs to a manifest', async () => {
    const { hub, app } = await start({ flags: { readAhead: 'off' } });
    await app.get(TAG, { headers: DOCKER });
    await app.caughtUp();
    expect(got(hub)).toEqual(['latest']);
    await app.get(manifestUrl(amd64.root.digest), { headers: DOCKER });
    await counted(app, 'statement', 2);
    await app.stop();
    expect(got(hub)).toEqual(['latest', amd64.root.digest, attestation(0)]);
    expect(bodies(hub).sort()).toEqual(statements(0).sort());
  });

  it('includes the attestation of a manifest that was chosen for the client', async () => {
    const { hub, app } = await start();
    await app.get(`${TAG}?platform=linux/arm64`, { headers: CONTAINERD });
    await counted(app, 'attestation', 1);
    expect(got(hub)).toEqual(['latest', arm64.root.digest, attestation(1)]);
  });
});

describe('the pulls that are counted', () => {
  it('are those of images, by image and platform, whoever tells which it is', async () => {
    const { app } = await start();
    await app.get(TAG, { headers: CONTAINERD });
    await app.head(manifestUrl(amd64.root.digest), { headers: CONTAINERD });
    for (let n = 0; n < 2; n++) await app.get(manifestUrl(amd64.root.digest), { headers: CONTAINERD });
    await app.get(`${TAG}?platform=linux/arm/v7`);
    await app.get(manifestUrl(attestation(0)), { headers: CONTAINERD });
    await app.get('/v2/library/plain/manifests/latest');
    const pulls = (name: string, platform: string) =>
      metric(app, 'pierhead_pulls_total', `image="docker.io/library/${name}",platform="${platform}"`);
    expect(await pulls('golang', 'linux/amd64')).toBe(2);
    expect(await pulls('golang', 'linux/arm/v7')).toBe(1);
    expect(await pulls('plain', 'unknown')).toBe(1);
    expect(await metric(app, 'pierhead_pulls_total')).toBe(4);
  });
});
