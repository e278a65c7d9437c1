import { describe, expect, it } from 'vitest';
import { askOwner } from '../../../src/cli/control-client.ts';
import { multiPlatform } from '../../fixtures/images.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { eventually } from '../../support/wait.ts';
import { filledHub, GOLANG, served } from '../../support/filled-hub.ts';
import { metric } from '../../support/metrics.ts';
import { unwatchedRun } from '../../support/operation-run.ts';

const LATEST = '/v2/library/golang/manifests/latest';
const NONE = '/v2/library/golang/manifests/none';
const { root } = GOLANG.image;
const renewed = multiPlatform({ message: 'renewed' });
const HEAD = { kind: 'manifest', method: 'HEAD' } as const;
const MINUTE = 60_000;

/** A clock that can be put forward. */
function movableClock() {
  let aheadMs = 0;
  return { now: () => Date.now() + aheadMs, forward: (ms: number) => void (aheadMs += ms) };
}

describe('tagTtl', () => {
  it('counts for each tag by the first pattern that fits it, and never means never', async () => {
    const hub = await filledHub();
    hub.add({ ...GOLANG, tags: ['latest', 'sha-1'] });
    const clock = movableClock();
    const app = await startTestApp({
      hub,
      now: clock.now,
      flags: { tagTtl: '1h,library/golang:latest=1m,*:sha-*=never', backgroundChecks: '0' },
    });
    const heads = async (target: string): Promise<number> => {
      const before = served(hub, HEAD);
      expect((await app.get(target)).status).toBe(200);
      return served(hub, HEAD) - before;
    };
    const [latest, plain, fixed] = [
      LATEST,
      '/v2/library/plain/manifests/latest',
      LATEST.replace('latest', 'sha-1'),
    ];
    for (const target of [latest, plain, fixed]) await app.get(target);
    clock.forward(2 * MINUTE);
    expect([await heads(latest), await heads(plain), await heads(fixed)]).toEqual([1, 0, 0]);
    clock.forward(61 * MINUTE);
    expect([await heads(latest), await heads(plain), await heads(fixed)]).toEqual([1, 1, 0]);
    clock.forward(400 * 24 * 60 * MINUTE);
    hub.removeTag('library/golang', 'sha-1');
    expect(await heads(fixed)).toBe(0);
  });
});

describe('A tag that moved', () => {
  it('costs one GET, whatever its list names, and leaves the old list to be had by its digest', async () => {
    const hub = await filledHub();
    hub.add({ repository: 'library/golang', image: renewed });
    const app = await startTestApp({ hub, flags: { tagTtl: '0s' } });
    await app.get(LATEST);
    hub.moveTag('library/golang', 'latest', renewed.root.digest);
    const before = served(hub, { kind: 'manifest', method: 'GET' });
    expect((await app.get(LATEST)).body).toEqual(renewed.root.bytes);
    expect(served(hub, { kind: 'manifest', method: 'GET' }) - before).toBe(1);
    await hub.stop();
    expect((await app.get(`/v2/library/golang/manifests/${root.digest}`)).body).toEqual(root.bytes);
  });
});

describe('An absence', () => {
  it('is remembered for negativeTtl, and not at all for 0s', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    for (let i = 0; i < 3; i++) expect((await app.get(NONE)).status).toBe(404);
    expect(served(hub, { kind: 'manifest' })).toBe(1);
    const forgetful = await startTestApp({ hub, flags: { negativeTtl: '0s' } });
    for (let i = 0; i < 3; i++) expect((await forgetful.get(NONE)).status).toBe(404);
    expect(served(hub, { kind: 'manifest' })).toBe(4);
  });

  it.each([
    ['that upstream wants not to be stored', { code: 404, headers: { 'cache-control': 'no-store' } }, 404],
    ['that is a refusal', { code: 403 }, 404],
    ['that is a failure', { code: 500 }, 503],
  ])('%s is never remembered', async (_name, status, expected) => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    const fault = hub.fault({ match: { kind: 'manifest' }, do: { status } });
    expect((await app.get(LATEST)).status).toBe(expected);
    fault.remove();
    expect((await app.get(LATEST)).status).toBe(200);
  });
});

describe('A tag that upstream has no more', () => {
  const keep = { tagTtl: '0s', deletedTags: 'keep' };

  it('is served on with a warning if deleted tags are kept, and followed when it is back', async () => {
    const hub = await filledHub();
    hub.add({ repository: 'library/golang', image: renewed });
    const app = await startTestApp({ hub, flags: keep });
    await app.get(LATEST);
    hub.removeTag('library/golang', 'latest');
    for (let i = 0; i < 2; i++) {
      const answer = await app.get(LATEST);
      expect(answer.status).toBe(200);
      expect(answer.header('docker-content-digest')).toBe(root.digest);
      expect(answer.header('warning')).toMatch(/^299 - ".*does not exist on docker.io, but the tag is kept/);
    }
    expect(await metric(app, 'pierhead_tag_checks_total', 'result="gone"')).toBe(2);
    hub.moveTag('library/golang', 'latest', renewed.root.digest);
    const back = await app.get(LATEST);
    expect(back.header('docker-content-digest')).toBe(renewed.root.digest);
    expect(back.header('warning')).toBeUndefined();
  });

  it('is kept with its whole repository, which Docker Hub refuses from then on', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub, flags: keep });
    await app.get(LATEST);
    hub.setReaders('library/golang', ['carol']);
    hub.expireTokens();
    const answer = await app.get(LATEST);
    expect(answer.status).toBe(200);
    expect(answer.header('warning')).toContain('kept');
  });

  it('is a refusal to one with credentials, who may have been shut out', async () => {
    const hub = await filledHub();
    const app = await startTestApp({
      hub,
      flags: keep,
      env: { PIERHEAD_UPSTREAM_USERNAME: 'dave', PIERHEAD_UPSTREAM_PASSWORD: 'other' },
    });
    await app.get(LATEST);
    hub.setReaders('library/golang', ['carol']);
    hub.expireTokens();
    expect((await app.get(LATEST)).status).toBe(404);
  });

  it('stays if it is pinned', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub, flags: { tagTtl: '0s' } });
    await app.get(LATEST);
    await app.get('/v2/library/plain/manifests/latest');
    await pin(app, 'golang');
    hub.removeTag('library/golang', 'latest');
    hub.removeTag('library/plain', 'latest');
    const pinned = await app.get(LATEST);
    expect(pinned.status).toBe(200);
    expect(pinned.header('warning')).toContain('kept');
    expect((await app.get('/v2/library/plain/manifests/latest')).status).toBe(404);
  });
});

async function pin(app: TestApp, image: string): Promise<void> {
  const run = unwatchedRun();
  expect(await askOwner(app.dataDir, { name: 'pin', request: { image }, run })).toMatchObject({
    kind: 'done',
  });
}

describe('A warm pull', () => {
  /** What clients send for a tag and then for what it names (protocol facts of each). */
  const LISTS =
    'application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*';
  const CRANE =
    'application/vnd.docker.distribution.manifest.v1+json,application/vnd.docker.distribution.manifest.v1+prettyjws,application/vnd.docker.distribution.manifest.v2+json,application/vnd.oci.image.manifest.v1+json,application/vnd.docker.distribution.manifest.list.v2+json,application/vnd.oci.image.index.v1+json';
  const child = GOLANG.image.manifests.find(({ digest }) => digest !== root.digest);

  it.each([
    ['crane', CRANE, ['GET']],
    ['crane digest', CRANE, ['HEAD']],
    ['containerd', LISTS, ['HEAD', 'GET']],
    [
      'a client that takes no lists',
      'application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json',
      ['HEAD', 'GET'],
    ],
  ])('by %s costs a HEAD when the tag is stale, and never a GET', async (_name, accept, methods) => {
    const hub = await filledHub();
    const app = await startTestApp({ hub, flags: { tagTtl: '0s' } });
    const headers = [['Accept', accept]] as const;
    const pull = async (): Promise<void> => {
      for (const method of methods) {
        expect((await app.begin(LATEST, { method, headers }).finished()).status).toBe(200);
        const byDigest = `/v2/library/golang/manifests/${child?.digest}`;
        const own = [['Accept', child?.mediaType ?? '']] as const;
        expect((await app.begin(byDigest, { headers: own }).finished()).status).toBe(200);
      }
    };
    await pull();
    // A HEAD alone fetches nothing that was not wanted.
    await app.get(LATEST);
    const gets = served(hub, { kind: 'manifest', method: 'GET' });
    const heads = served(hub, HEAD);
    await pull();
    expect(served(hub, { kind: 'manifest', method: 'GET' })).toBe(gets);
    expect(served(hub, HEAD) - heads).toBe(methods.length);
  });

  it('that is a limit lasts as long as the limit, and no longer', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    const limit = { code: 429, headers: { 'retry-after': '1' } };
    const fault = hub.fault({ match: { kind: 'manifest' }, do: { status: limit } });
    expect((await app.get(LATEST)).status).toBe(503);
    fault.remove();
    await eventually(async () => (await app.get(LATEST)).status === 200, 'the limit to be over');
  });
});
