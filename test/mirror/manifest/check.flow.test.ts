import { describe, expect, it } from 'vitest';
import { multiPlatform } from '../../fixtures/images.ts';
import { startTestApp } from '../../support/app.ts';
import { filledHub, GOLANG, served } from '../../support/filled-hub.ts';
import { eventually } from '../../support/wait.ts';

const LATEST = '/v2/library/golang/manifests/latest';
const old = GOLANG.image.root.digest;
const renewed = multiPlatform({ message: 'renewed' });
const alwaysStale = { flags: { tagTtl: '0s' } };

describe('a tag', () => {
  it('costs upstream nothing while it is fresh', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    await app.get(LATEST);
    const asked = hub.requests.length;
    for (let i = 0; i < 5; i++) {
      expect((await app.get(LATEST)).header('cache-status')).toBe('pierhead; hit');
      expect((await app.head(LATEST)).header('cache-status')).toBe('pierhead; hit');
    }
    expect(hub.requests).toHaveLength(asked);
  });

  it('that is stale is confirmed by a HEAD, never by a GET', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub, ...alwaysStale });
    await app.get(LATEST);
    const again = await app.get(LATEST);
    expect(again.header('cache-status')).toBe('pierhead; fwd=stale; fwd-status=200');
    expect(again.header('warning')).toBeUndefined();
    expect(served(hub, { kind: 'manifest', method: 'GET' })).toBe(1);
    expect(served(hub, { kind: 'manifest', method: 'HEAD' })).toBe(1);
  });

  it('is checked once, however many ask at once', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub, ...alwaysStale });
    await app.get(LATEST);
    const held = hub.fault({ match: { kind: 'manifest', method: 'HEAD' }, do: { holdHeaders: true } });
    const asked = Array.from({ length: 8 }, () => app.get(LATEST));
    await held.reached;
    await app.caughtUp();
    held.release();
    expect((await Promise.all(asked)).map(({ status }) => status)).toEqual(
      Array.from({ length: 8 }, () => 200),
    );
    expect(served(hub, { kind: 'manifest', method: 'HEAD' })).toBe(1);
  });

  it('that moved names the new manifest', async () => {
    const hub = await filledHub();
    hub.add({ repository: 'library/golang', image: renewed });
    const app = await startTestApp({ hub, ...alwaysStale });
    expect((await app.get(LATEST)).header('docker-content-digest')).toBe(old);
    hub.moveTag('library/golang', 'latest', renewed.root.digest);
    const moved = await app.get(LATEST);
    expect(moved.header('docker-content-digest')).toBe(renewed.root.digest);
    expect(moved.header('cache-status')).toBe('pierhead; fwd=stale; fwd-status=200');
  });

  it('keeps its old manifest, with a warning that names the new one, if that cannot be fetched', async () => {
    const hub = await filledHub();
    hub.add({ repository: 'library/golang', image: renewed });
    const app = await startTestApp({ hub, ...alwaysStale });
    await app.get(LATEST);
    hub.moveTag('library/golang', 'latest', renewed.root.digest);
    hub.fault({ match: { kind: 'manifest', method: 'GET' }, do: { status: { code: 500 } } });
    const answer = await app.get(LATEST);
    expect(answer.status).toBe(200);
    expect(answer.header('docker-content-digest')).toBe(old);
    expect(answer.header('warning')).toMatch(/^299 - ".*"$/);
    expect(answer.header('warning')).toContain(renewed.root.digest);
    expect(answer.header('cache-status')).toBe('pierhead; hit; detail=stale-if-error');
  });

  it('is served stale, with the reason and its age, while upstream is away', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub, ...alwaysStale });
    await app.get(LATEST);
    await hub.stop();
    for (const answer of [await app.get(LATEST), await app.head(LATEST)]) {
      expect(answer.status).toBe(200);
      expect(answer.header('docker-content-digest')).toBe(old);
      expect(answer.header('cache-status')).toBe('pierhead; hit; detail=stale-if-error');
      expect(answer.header('warning')).toMatch(/^299 - ".*connection.*last confirmed \d+ s ago"$/);
      expect(Number(answer.header('age'))).toBeGreaterThanOrEqual(0);
    }
  });

  it('moves its clock on when a check fails, so that an outage costs one attempt per window', async () => {
    const hub = await filledHub();
    const first = await startTestApp({ hub });
    await first.get(LATEST);
    await first.stop();
    // The window is over: only the restarted mirror thinks so, as its window is nought.
    const second = await startTestApp({ hub, dataDir: first.dataDir, ...alwaysStale });
    hub.fault({ match: { kind: 'manifest', method: 'HEAD' }, do: { status: { code: 500 } } });
    expect((await second.get(LATEST)).header('warning')).toContain('500');
    await second.stop();
    const third = await startTestApp({ hub, dataDir: first.dataDir });
    const asked = hub.requests.length;
    const answer = await third.get(LATEST);
    expect(answer.header('warning')).toContain('500');
    expect(hub.requests).toHaveLength(asked);
  });

  it('is served stale after two seconds when upstream is slow, and for nothing after that', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub, ...alwaysStale });
    await app.get(LATEST);
    const hang = hub.fault({ match: { kind: 'manifest', method: 'HEAD' }, do: { holdHeaders: true } });
    const answer = await app.get(LATEST);
    expect(answer.header('warning')).toContain('did not answer within 2 s');
    expect(answer.header('docker-content-digest')).toBe(old);
    hang.release();
  });

  it('is served stale while upstream limits our requests', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub, ...alwaysStale });
    await app.get(LATEST);
    hub.fault({ match: { kind: 'manifest' }, do: { abuseLimit: {} } });
    const answer = await app.get(LATEST);
    expect(answer.status).toBe(200);
    expect(answer.header('warning')).toContain('limits');
  });

  it('that was deleted upstream is a 404', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub, ...alwaysStale });
    await app.get(LATEST);
    hub.removeTag('library/golang', 'latest');
    expect((await app.get(LATEST)).status).toBe(404);
    hub.moveTag('library/golang', 'latest', old);
    await eventually(async () => (await app.get(LATEST)).status === 200, 'the absence to be forgotten');
  });

  it('is checked by the clock as it is, also when that was set back meanwhile', async () => {
    const hub = await filledHub();
    hub.add({ repository: 'library/golang', image: renewed });
    let now = Date.now() + 24 * 60 * 60 * 1000;
    const first = await startTestApp({ hub, now: () => now });
    await first.get(LATEST);
    await first.stop();
    now = Date.now();
    const app = await startTestApp({ hub, dataDir: first.dataDir, now: () => now });
    hub.moveTag('library/golang', 'latest', renewed.root.digest);
    const moved = await app.get(LATEST);
    expect(moved.header('docker-content-digest')).toBe(renewed.root.digest);
    expect(moved.header('cache-status')).toContain('fwd-status=200');
    const again = await app.get(LATEST);
    expect(again.header('docker-content-digest')).toBe(renewed.root.digest);
    expect(again.header('cache-status')).toBe('pierhead; hit');
    await hub.stop();
    now += 24 * 60 * 60 * 1000;
    expect((await app.get(LATEST)).header('docker-content-digest')).toBe(renewed.root.digest);
  });

  it('that moves forth and back is followed', async () => {
    const hub = await filledHub();
    hub.add({ repository: 'library/golang', image: renewed });
    const app = await startTestApp({ hub, ...alwaysStale });
    for (const digest of [old, renewed.root.digest, old]) {
      hub.moveTag('library/golang', 'latest', digest);
      expect((await app.get(LATEST)).header('docker-content-digest')).toBe(digest);
    }
    expect(served(hub, { kind: 'manifest', method: 'GET' })).toBe(2);
  });
});

describe('offline', () => {
  it('serves what is cached and never dials', async () => {
    const hub = await filledHub();
    const first = await startTestApp({ hub });
    await first.get(LATEST);
    await first.stop();
    const asked = hub.requests.length;
    const app = await startTestApp({ hub, dataDir: first.dataDir, flags: { offline: true, tagTtl: '0s' } });
    expect((await app.get(LATEST)).header('warning')).toContain('offline');
    const missing = await app.get('/v2/library/plain/manifests/latest');
    expect(missing.status).toBe(503);
    expect(missing.body.toString()).toContain('offline');
    expect(hub.requests).toHaveLength(asked);
  });
});
