import { describe, expect, it } from 'vitest';
import { OCI_INDEX } from '../../../src/oci/media-types.ts';
import { referrersTag } from '../../../src/oci/referrers.ts';
import type { FakeHub } from '../../fake/hub.ts';
import type { FaultAction } from '../../fake/faults.ts';
import { listOf } from '../../fixtures/lists.ts';
import { startTestApp } from '../../support/app.ts';
import { filledHub, GOLANG, PLAIN, served } from '../../support/filled-hub.ts';
import type { RawResponse } from '../../support/http.ts';

const { digest } = GOLANG.image.root;
const TARGET = `/v2/library/golang/referrers/${digest}`;
const REFERRERS = { kind: 'referrers', host: 'registry' } as const;

const descriptor = (artifactType: string, size: number) => ({
  mediaType: 'application/vnd.oci.image.manifest.v1+json',
  digest: PLAIN.image.root.digest,
  size,
  artifactType,
  annotations: { 'org.example.n': String(size) },
});
const SIGNATURES = [1, 2, 3, 4].map((size) => descriptor('application/vnd.example.signature', size));
const SBOM = descriptor('application/vnd.example.sbom', 5);
const ALL = [...SIGNATURES, SBOM];

function listed(answer: RawResponse): unknown {
  expect(answer.status).toBe(200);
  expect(answer.header('content-type')).toBe(OCI_INDEX);
  const index = JSON.parse(answer.body.toString()) as Record<string, unknown>;
  expect(index).toMatchObject({ schemaVersion: 2, mediaType: OCI_INDEX });
  return index['manifests'];
}

async function hubWithReferrers(): Promise<FakeHub> {
  const hub = await filledHub();
  hub.setReferrers('library/golang', digest, ALL);
  return hub;
}

const failures: readonly (readonly [string, FaultAction])[] = [
  ['answers 500', { status: { code: 500 } }],
  ['limits our requests', { abuseLimit: {} }],
  ['hangs up', { hangUp: 'rst' }],
  ['never answers', { hang: true }],
  ['does not find it, which is not to be remembered', notStored()],
];

function notStored(): FaultAction {
  return { status: { code: 404, headers: { 'cache-control': 'no-store' } } };
}

describe('the referrers of a manifest', () => {
  it('are what upstream lists, from all of its pages, asked once while that is fresh', async () => {
    const hub = await hubWithReferrers();
    const app = await startTestApp({ hub });
    const first = await app.get(TARGET);
    expect(listed(first)).toEqual(ALL);
    expect(first.header('cache-status')).toBe('pierhead; fwd=uri-miss; stored');
    const second = await app.get(TARGET);
    expect(listed(second)).toEqual(ALL);
    expect(second.header('cache-status')).toBe('pierhead; hit');
    expect(second.header('warning')).toBeUndefined();
    expect(served(hub, REFERRERS)).toBe(2);
    const head = await app.head(TARGET);
    expect(head.header('content-length')).toBe(String(second.body.length));
  });

  it('are filtered by artifact type, which the answer says', async () => {
    const hub = await hubWithReferrers();
    const app = await startTestApp({ hub });
    const answer = await app.get(`${TARGET}?artifactType=application%2Fvnd.example.sbom&ns=docker.io`);
    expect(listed(answer)).toEqual([SBOM]);
    expect(answer.header('oci-filters-applied')).toBe('artifactType');
    expect(answer.header('oci-namespace')).toBe('docker.io');
    expect((await app.get(TARGET)).header('oci-filters-applied')).toBeUndefined();
    expect(listed(await app.get(`${TARGET}?artifactType=none`))).toEqual([]);
  });

  it('are none where upstream says so', async () => {
    const hub = await hubWithReferrers();
    const app = await startTestApp({ hub });
    const answer = await app.get(`/v2/library/golang/referrers/${PLAIN.image.root.digest}`);
    expect(listed(answer)).toEqual([]);
    expect(answer.header('warning')).toBeUndefined();
  });

  it('are not found, which sends clients on to the tag schema, only if upstream says so', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    for (let i = 0; i < 3; i++) expect((await app.get(TARGET)).status).toBe(404);
    expect(served(hub, REFERRERS)).toBe(1);
  });

  it('cannot be asked for by a malformed digest', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    expect((await app.get('/v2/library/golang/referrers/sha256:abc')).status).toBe(400);
    expect(hub.requests).toEqual([]);
  });

  it.each(failures)('are none, with a warning and for now, if upstream %s', async (_what, action) => {
    const hub = await hubWithReferrers();
    const app = await startTestApp({ hub, flags: { headersTimeout: '3s' } });
    const fault = hub.fault({ match: REFERRERS, do: action });
    const answer = await app.get(TARGET);
    expect(listed(answer)).toEqual([]);
    expect(answer.header('warning')).toMatch(/^299 - "/);
    expect(answer.header('cache-control')).toBe('no-store');
    fault.remove();
    // Nothing of that is remembered; only an abuse limit has its time.
    if (action.abuseLimit === undefined) expect(listed(await app.get(TARGET))).toEqual(ALL);
  });

  it('are those in the cache, with a warning, while upstream is away, after a restart and offline too', async () => {
    const hub = await hubWithReferrers();
    const first = await startTestApp({ hub, flags: { tagTtl: '0s' } });
    await first.get('/v2/library/golang/manifests/latest');
    await first.get(TARGET);
    await hub.stop();
    const stale = await first.get(TARGET);
    expect(listed(stale)).toEqual(ALL);
    expect(stale.header('warning')).toMatch(/connection refused.*last confirmed/);
    expect(stale.header('age')).toBeDefined();
    expect(stale.header('cache-status')).toBe('pierhead; hit; detail=stale-if-error');
    await first.stop();
    const offline = await startTestApp({
      hub,
      dataDir: first.dataDir,
      flags: { offline: true, tagTtl: '0s' },
    });
    const answer = await offline.get(`${TARGET}?artifactType=application/vnd.example.sbom`);
    expect(listed(answer)).toEqual([SBOM]);
    expect(answer.header('warning')).toContain('offline');
  });

  it('are those under the tag that clients look for then, while an upstream without such lists is away', async () => {
    const hub = await filledHub();
    const index = listOf([SBOM, ...SIGNATURES], []);
    hub.add({ repository: 'library/golang', tags: [referrersTag(digest)], image: index });
    const app = await startTestApp({ hub });
    expect((await app.get(TARGET)).status).toBe(404);
    await app.get(`/v2/library/golang/manifests/${referrersTag(digest)}`);
    await app.stop();
    for (const flags of [{ offline: true }, { upstream: 'http://127.0.0.1:9' }]) {
      const away = await startTestApp({ hub, dataDir: app.dataDir, flags });
      const answer = await away.get(`${TARGET}?artifactType=application/vnd.example.sbom`);
      expect(listed(answer)).toEqual([SBOM]);
      expect(answer.header('warning')).toContain('last confirmed');
      await away.stop();
    }
  });

  it('of a repository that may no longer be shown are not, although they are cached, while upstream is away', async () => {
    const hub = await filledHub();
    hub.setReferrers('carol/private', PLAIN.image.root.digest, ALL);
    const target = (what: string) => `/v2/carol/private/${what}/${PLAIN.image.root.digest}`;
    const credentials = { PIERHEAD_UPSTREAM_USERNAME: 'carol', PIERHEAD_UPSTREAM_PASSWORD: 'secret' };
    const open = await startTestApp({ hub, env: { ...credentials, PIERHEAD_UPSTREAM_PRIVATE: 'carol/*' } });
    expect((await open.get(target('manifests'))).status).toBe(200);
    expect(listed(await open.get(target('referrers')))).toEqual(ALL);
    await open.stop();
    const closed = await startTestApp({
      hub,
      dataDir: open.dataDir,
      env: credentials,
      flags: { offline: true },
    });
    expect(listed(await closed.get(target('referrers')))).toEqual([]);
  });

  it('of a private repository are not shown', async () => {
    const hub = await filledHub();
    hub.setReferrers('carol/private', PLAIN.image.root.digest, ALL);
    const target = `/v2/carol/private/referrers/${PLAIN.image.root.digest}`;
    const credentials = { PIERHEAD_UPSTREAM_USERNAME: 'carol', PIERHEAD_UPSTREAM_PASSWORD: 'secret' };
    const closed = await startTestApp({ hub, env: credentials });
    expect((await closed.get(target)).status).toBe(404);
    const open = await startTestApp({
      hub,
      env: { ...credentials, PIERHEAD_UPSTREAM_PRIVATE: 'carol/*' },
    });
    expect(listed(await open.get(target))).toEqual(ALL);
  });
});
