import { describe, expect, test } from 'vitest';
import { startTestApp } from '../../support/app.ts';
import { generatedContent } from '../../fake/content.ts';
import { filledHub, GOLANG, PLAIN, served } from '../../support/filled-hub.ts';
import { metric } from '../../support/metrics.ts';
import { eventually } from '../../support/wait.ts';

const LATEST = '/v2/library/golang/manifests/latest';

describe('a fallback URL', () => {
  test('is not asked while the registry answers, not even for what it does not have', async () => {
    const [hub, mirror] = [await filledHub(), await filledHub()];
    mirror.moveTag('library/golang', 'only-there', GOLANG.image.root.digest);
    const app = await startTestApp({ hub, env: { PIERHEAD_UPSTREAM_FALLBACK_URLS: mirror.url } });
    expect((await app.get(LATEST)).status).toBe(200);
    expect((await app.get('/v2/library/golang/manifests/only-there')).status).toBe(404);
    expect(mirror.requests).toEqual([]);
  });

  test('gives what the registry cannot when that is away, limits us or is out of order', async () => {
    const [hub, mirror] = [await filledHub(), await filledHub()];
    const app = await startTestApp({ hub, env: { PIERHEAD_UPSTREAM_FALLBACK_URLS: mirror.url } });
    const fault = hub.fault({ match: { kind: 'manifest' }, do: { status: { code: 500 } } });
    expect((await app.get(LATEST)).header('docker-content-digest')).toBe(GOLANG.image.root.digest);
    fault.remove();
    await hub.stop();
    for (const { digest } of PLAIN.image.blobs) {
      expect((await app.get(`/v2/library/plain/blobs/${digest}`)).status).toBe(200);
    }
    expect((await app.get('/v2/library/plain/tags/list')).header('warning')).toBeUndefined();
    expect((await app.get('/readyz')).body.toString()).not.toContain('docker.io');
    const given = await metric(app, 'pierhead_upstream_fallbacks_total', 'upstream="docker.io"');
    expect(given).toBeGreaterThan(PLAIN.image.blobs.length);
  });

  test('costs no wait for the registry once that is known to be away', async () => {
    const [hub, mirror] = [await filledHub(), await filledHub()];
    const app = await startTestApp({ hub, env: { PIERHEAD_UPSTREAM_FALLBACK_URLS: mirror.url } });
    hub.fault({ match: { kind: 'ping' }, do: { status: { code: 500 } } });
    hub.fault({ match: { kind: 'manifest' }, do: { status: { code: 500 } } });
    const ask = async (tag: string) => (await app.get(`/v2/library/golang/manifests/${tag}`)).status;
    await eventually(async () => {
      await ask(`gone-${hub.requests.length}`);
      return app.log.some(({ msg }) => msg === 'upstream unreachable');
    }, 'the breaker of the registry to open');
    const asked = hub.count({ kind: 'manifest' });
    expect(await ask('latest')).toBe(200);
    expect(hub.count({ kind: 'manifest' })).toBe(asked);
  });

  test('goes on with a blob where the registry broke off', async () => {
    const [hub, mirror] = [await filledHub(), await filledHub()];
    const blob = generatedContent({ size: 4 * 1024 * 1024, seed: 7 });
    for (const one of [hub, mirror]) one.addBlob('library/plain', blob);
    const app = await startTestApp({ hub, env: { PIERHEAD_UPSTREAM_FALLBACK_URLS: mirror.url } });
    const gate = hub.holdBlob(blob.digest, 1024 * 1024);
    const pull = app.begin(`/v2/library/plain/blobs/${blob.digest}`);
    await gate.reached;
    await hub.stop();
    const answer = await pull.finished();
    expect([answer.status, answer.complete, answer.bodyBytes]).toEqual([200, true, blob.size]);
    const ranges = mirror.requests.filter(({ kind, status }) => kind === 'blob' && status === 206);
    expect(ranges.map(({ headers }) => headers.range)).toEqual([expect.stringMatching(/^bytes=[1-9]\d*-/)]);
  });

  test('that has other bytes under a digest is not believed, and nothing of them is kept', async () => {
    const [hub, mirror] = [await filledHub(), await filledHub()];
    const app = await startTestApp({ hub, env: { PIERHEAD_UPSTREAM_FALLBACK_URLS: mirror.url } });
    const [layer] = PLAIN.image.layers;
    const target = `/v2/library/plain/blobs/${layer?.digest}`;
    await app.get('/v2/library/plain/manifests/latest');
    const away = hub.fault({ match: {}, do: { status: { code: 500 } } });
    mirror.fault({ match: { host: 'blobs' }, do: { corruptAt: 3 } });
    expect((await app.get(target)).complete).toBe(false);
    mirror.fault({
      match: { kind: 'manifest' },
      do: { status: { code: 200, body: PLAIN.image.root.bytes.toString() } },
    });
    expect((await app.get(`/v2/library/golang/manifests/${GOLANG.image.root.digest}`)).status).toBe(503);
    away.remove();
    await eventually(async () => (await app.get(target)).complete, 'the registry to be asked again');
  });

  test('at another host gets no credentials, and does not decide what is public', async () => {
    const hub = await filledHub();
    const mirror = await filledHub();
    mirror.setReaders('carol/private', undefined);
    const elsewhere = mirror.url.replace('127.0.0.1', 'localhost');
    const env = {
      PIERHEAD_UPSTREAM_USERNAME: 'carol',
      PIERHEAD_UPSTREAM_PASSWORD: 'secret',
      PIERHEAD_UPSTREAM_FALLBACK_URLS: elsewhere,
    };
    const app = await startTestApp({ hub, env });
    await hub.stop();
    expect((await app.get('/v2/carol/private/manifests/latest')).status).toBe(503);
    const named = await startTestApp({ hub, env: { ...env, PIERHEAD_UPSTREAM_PRIVATE: 'carol/*' } });
    expect((await named.get('/v2/carol/private/manifests/latest')).status).toBe(200);
    expect(mirror.requests.some(({ identity }) => identity === 'carol')).toBe(false);
  });

  test('by plain HTTP gets none of those that the registry gets by HTTPS', async () => {
    const mirror = await filledHub();
    const env = {
      PIERHEAD_UPSTREAM_USERNAME: 'carol',
      PIERHEAD_UPSTREAM_PASSWORD: 'secret',
      PIERHEAD_UPSTREAM_FALLBACK_URLS: mirror.url,
      PIERHEAD_UPSTREAM_PRIVATE: 'carol/*,library/*',
    };
    const app = await startTestApp({ hub: 'https://127.0.0.1:9', env });
    expect((await app.get(LATEST)).status).toBe(200);
    expect((await app.get('/v2/carol/private/manifests/latest')).status).toBe(503);
    expect(mirror.requests.some(({ headers }) => headers.authorization?.startsWith('Basic'))).toBe(false);
    expect(mirror.requests.some(({ identity }) => identity === 'carol')).toBe(false);
  });

  test('at the same host gets them', async () => {
    const [hub, mirror] = [await filledHub(), await filledHub()];
    const env = {
      PIERHEAD_UPSTREAM_USERNAME: 'carol',
      PIERHEAD_UPSTREAM_PASSWORD: 'secret',
      PIERHEAD_UPSTREAM_FALLBACK_URLS: mirror.url,
      PIERHEAD_UPSTREAM_PRIVATE: 'carol/*',
    };
    const app = await startTestApp({ hub, env });
    await hub.stop();
    expect((await app.get('/v2/carol/private/manifests/latest')).status).toBe(200);
    expect(served(mirror, { kind: 'manifest' })).toBeGreaterThan(0);
    expect(mirror.requests.at(-1)?.identity).toBe('carol');
  });
});
