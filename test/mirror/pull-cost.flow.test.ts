import { describe, expect, it } from 'vitest';
import { multiPlatform } from '../fixtures/images.ts';
import { startTestApp } from '../support/app.ts';
import { filledHub, GOLANG, served } from '../support/filled-hub.ts';
import { metric } from '../support/metrics.ts';
import { eventually } from '../support/wait.ts';

const LATEST = '/v2/library/golang/manifests/latest';
const PLAIN_LATEST = '/v2/library/plain/manifests/latest';
const alwaysStale = { flags: { tagTtl: '0s' } };
const GETS = { kind: 'manifest', method: 'GET', host: 'registry' } as const;
const renewed = multiPlatform({ message: 'renewed' });
const old = GOLANG.image.root.digest;

const pulls = (remaining: number) => ({ limit: 100, remaining, windowSeconds: 21_600 });
const ofAnonymous = 'upstream="docker.io",identity="anonymous"';

async function filled(remaining: number) {
  const hub = await filledHub({ pulls: pulls(100) });
  hub.add({ repository: 'library/golang', image: renewed });
  const app = await startTestApp({ hub, ...alwaysStale });
  await app.get(LATEST);
  hub.setPulls(pulls(remaining));
  return { hub, app };
}

describe('when few pulls are left', () => {
  it('a tag that moved stays where it is, with a warning that names the new manifest', async () => {
    const { hub, app } = await filled(15);
    hub.moveTag('library/golang', 'latest', renewed.root.digest);
    const asked = hub.count(GETS);
    const answer = await app.get(LATEST);
    expect(answer.header('docker-content-digest')).toBe(old);
    expect(answer.header('warning')).toMatch(
      new RegExp(`docker.io has moved the tag to ${renewed.root.digest}, but only 15 of 100 pulls are left`),
    );
    expect(hub.count(GETS)).toBe(asked);
    // HEADs go on, so it moves once there are pulls again.
    hub.setPulls(pulls(100));
    await app.get(LATEST);
    expect((await app.get(LATEST)).header('docker-content-digest')).toBe(renewed.root.digest);
  });

  it('a tag moves all the same to what is in the cache', async () => {
    const { hub, app } = await filled(100);
    await app.get(`/v2/library/golang/manifests/${renewed.root.digest}`);
    hub.setPulls(pulls(15));
    hub.moveTag('library/golang', 'latest', renewed.root.digest);
    expect((await app.get(LATEST)).header('docker-content-digest')).toBe(renewed.root.digest);
  });

  it('what is not in the cache is pulled down to the last one', async () => {
    const { hub, app } = await filled(1);
    expect((await app.get(LATEST)).header('warning')).toBeUndefined();
    expect((await app.get(PLAIN_LATEST)).status).toBe(200);
    expect(hub.pullsRemaining).toBe(0);
  });

  it.each([
    [15, []],
    [100, GOLANG.image.attestations.map(({ digest }) => digest)],
  ])('(%i of 100) only what clients ask for is pulled, else what belongs to it too', async (left, more) => {
    const hub = await filledHub();
    hub.setPulls(pulls(left));
    const app = await startTestApp({ hub });
    await app.get(LATEST);
    const children = [...GOLANG.image.images.values()].map(({ root }) => root.digest);
    for (const digest of children) await app.get(`/v2/library/golang/manifests/${digest}`);
    const asked = () =>
      hub.requests.filter(
        ({ kind, method, status }) => kind === 'manifest' && method === 'GET' && status === 200,
      );
    await eventually(() => asked().length === 1 + children.length + more.length, 'the pulls');
    await app.stop();
    expect(new Set(asked().map(({ reference }) => reference))).toEqual(
      new Set(['latest', ...children, ...more]),
    );
  });

  it('metrics tell, and the log once', async () => {
    const { app } = await filled(15);
    for (let i = 0; i < 3; i++) await app.get(LATEST);
    expect(await metric(app, 'pierhead_pull_budget_limit', ofAnonymous)).toBe(100);
    expect(await metric(app, 'pierhead_pull_budget_remaining', ofAnonymous)).toBe(15);
    expect(await metric(app, 'pierhead_pull_budget_low', ofAnonymous)).toBe(1);
    expect(await metric(app, 'pierhead_pull_budget_empty_timestamp_seconds', ofAnonymous)).toBeGreaterThan(
      Date.now() / 1000,
    );
    expect(app.log.filter(({ msg }) => msg === 'pull limit low')).toHaveLength(1);
    expect(app.log.filter(({ msg }) => msg === 'pull limit used up soon')).toHaveLength(1);
  });
});

describe('when no pulls are left', () => {
  it('only manifests that are not in the cache cannot be had, and no pull is tried in vain', async () => {
    const { hub, app } = await filled(0);
    const [layer] = GOLANG.image.images.get('linux/amd64')?.layers ?? [];
    // A HEAD has told by then.
    await app.get(LATEST);
    hub.reset();
    for (let i = 0; i < 5; i++) {
      const missing = await app.get(PLAIN_LATEST);
      expect(missing.status).toBe(503);
      expect(missing.body.toString()).toContain('the pull limit of docker.io is used up');
      const cached = await app.get(LATEST);
      expect(cached.status).toBe(200);
      expect(cached.header('cache-status')).toBe('pierhead; fwd=stale; fwd-status=200');
    }
    expect(hub.requests.filter(({ status }) => status === 429)).toEqual([]);
    expect(served(hub, GETS)).toBe(0);
    expect((await app.head(PLAIN_LATEST)).status).toBe(200);
    expect((await app.get(`/v2/library/golang/blobs/${layer?.digest}`)).status).toBe(200);
    expect((await app.get('/readyz')).body.toString()).toContain('"ready"');
    expect(await metric(app, 'pierhead_pull_budget_low', ofAnonymous)).toBe(2);
    hub.setPulls(pulls(100));
    await app.get(LATEST);
    expect((await app.get(PLAIN_LATEST)).status).toBe(200);
  });

  it('an image that is cached without its blobs is handed out, for they can be had', async () => {
    const { hub, app } = await filled(100);
    const [child] = GOLANG.image.images.values();
    const target = `/v2/library/golang/manifests/${child?.root.digest}`;
    await app.get(target);
    hub.setPulls(pulls(0));
    expect((await app.get(PLAIN_LATEST)).status).toBe(503);
    expect((await app.get(target)).status).toBe(200);
  });
});

describe('when somebody goes around the mirror', () => {
  it('it is counted, and logged once', async () => {
    const { hub, app } = await filled(90);
    await app.get(LATEST);
    hub.setPulls(pulls(80));
    await app.get(LATEST);
    const foreign = await metric(app, 'pierhead_pull_budget_foreign_pulls_total', ofAnonymous);
    // 100 were left, one of which was ours; one may always be counted late.
    expect(foreign).toBe(18);
    const lines = app.log.filter(({ msg }) => msg === 'clients bypass Pierhead');
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatchObject({ upstream: 'docker.io', identity: 'anonymous', source: '192.0.2.1' });
  });
});
