import { describe, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { filledHub, PLAIN } from '../../support/filled-hub.ts';
import { freePort } from '../../support/free-port.ts';
import { fetchRaw, rawRequest } from '../../support/http.ts';
import { eventually } from '../../support/wait.ts';

const metric = async (app: TestApp, name: string): Promise<number> => {
  const { body } = await fetchRaw(`${app.adminUrl}/metrics`);
  const line = body
    .toString()
    .split('\n')
    .find((each) => each.startsWith(name));
  return Number(line?.split(' ').at(-1));
};

describe('health', () => {
  it('is told on both addresses', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    await hub.stop();
    for (const origin of [app.url, app.adminUrl]) {
      expect((await fetchRaw(`${origin}/healthz`)).status).toBe(200);
      const ready = await fetchRaw(`${origin}/readyz`);
      expect(ready.status).toBe(200);
      expect(JSON.parse(ready.body.toString())).toEqual({ status: 'ready' });
    }
  });
});

describe('a Redis that is not there', () => {
  it('keeps nobody waiting: the server starts, serves, says that it is degraded, and counts the errors', async () => {
    const hub = await filledHub();
    const env = { PIERHEAD_REDIS_URL: `redis://:secret-word@127.0.0.1:${await freePort()}` };
    const app = await startTestApp({ hub, env });
    expect((await app.get('/v2/library/plain/manifests/latest')).status).toBe(200);
    const ready = await app.get('/readyz');
    expect(ready.status).toBe(200);
    expect(JSON.parse(ready.body.toString())).toEqual({ status: 'degraded', degraded: ['redis'] });
    await eventually(
      async () => (await metric(app, 'pierhead_redis_errors_total{kind="connection"}')) > 0,
      'an error of Redis to be counted',
    );
    expect(await metric(app, 'pierhead_redis_up')).toBe(0);
    expect(JSON.stringify(app.log)).not.toContain('secret-word');
  });
});

describe('the ping', () => {
  it('is 200 at once without asking upstream', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    await hub.stop();
    const answer = await app.get('/v2/');
    expect(answer.status).toBe(200);
    expect(answer.header('docker-distribution-api-version')).toBe('registry/2.0');
    expect(hub.requests).toEqual([]);
  });
});

describe('the log', () => {
  it('has one line per request with all that is to be known of it, and nothing secret', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    const [layer] = PLAIN.image.layers;
    await app.get('/v2/library/plain/manifests/latest?ns=docker.io');
    await app.get(`/v2/library/plain/blobs/${layer?.digest}`);
    await app.get('/v2/library/plain/manifests/none?token=very-secret');
    const lines = await eventually(() => {
      const requests = app.log.filter(({ msg }) => msg === 'request');
      return requests.length === 3 && requests;
    }, 'three lines');
    expect(lines[0]).toMatchObject({
      client: '127.0.0.1',
      method: 'GET',
      kind: 'manifest',
      repository: 'docker.io/library/plain',
      reference: 'latest',
      status: 200,
      bytes: PLAIN.image.root.bytes.length,
      cache: 'stored',
    });
    expect(lines[0]?.['durationMs']).toBeTypeOf('number');
    expect(lines[1]).toMatchObject({
      kind: 'blob',
      reference: layer?.digest,
      bytes: layer?.size,
      status: 200,
    });
    expect(lines[2]).toMatchObject({ status: 404, cache: 'miss' });
    const text = JSON.stringify(app.log);
    expect(text).not.toContain('very-secret');
    expect(text).not.toContain('sig=');
    expect(text).not.toContain('Bearer');
  });
});

describe('metrics', () => {
  it('count requests, bytes, fills, upstream requests and what is stored', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    const [layer] = PLAIN.image.layers;
    const size = layer?.size ?? 0;
    await app.get('/v2/library/plain/manifests/latest');
    await app.get('/v2/library/plain/manifests/latest');
    await app.get(`/v2/library/plain/blobs/${layer?.digest}`);
    await eventually(
      async () => (await metric(app, 'pierhead_fills_total{result="stored"}')) === 1,
      'the fill to be counted',
    );
    expect(await metric(app, 'pierhead_requests_total{kind="manifest",status="200",cache="stored"}')).toBe(1);
    expect(await metric(app, 'pierhead_requests_total{kind="manifest",status="200",cache="hit"}')).toBe(1);
    expect(await metric(app, 'pierhead_requests_total{kind="blob",status="200",cache="stored"}')).toBe(1);
    expect(await metric(app, 'pierhead_response_body_bytes_total{kind="blob"}')).toBe(size);
    expect(await metric(app, 'pierhead_upstream_body_bytes_total{upstream="docker.io"}')).toBe(
      size + PLAIN.image.root.bytes.length,
    );
    expect(await metric(app, 'pierhead_store_blobs')).toBe(1);
    expect(await metric(app, 'pierhead_store_blob_bytes')).toBe(size);
    expect(await metric(app, 'pierhead_store_manifests')).toBe(1);
    expect(await metric(app, 'pierhead_fills_running')).toBe(0);
    const { body } = await fetchRaw(`${app.adminUrl}/metrics`);
    expect(body.toString()).toMatch(
      /pierhead_upstream_requests_total\{upstream="docker.io",kind="manifest",method="GET",outcome="ok"\} 1/,
    );
    expect(body.toString()).toContain('nodejs_eventloop_lag_seconds');
  });
});

describe('the admin API', () => {
  it('is open to loopback without a token, unless a page of another site or name asks', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    expect((await fetchRaw(`${app.adminUrl}/api/v1/config`)).status).toBe(200);
    const foreign = [
      [['Host', 'evil.example']],
      [
        ['Host', `localhost:1`],
        ['Origin', 'https://evil.example'],
      ],
    ] as const;
    for (const headers of foreign) {
      for (const target of ['/api/v1/config', '/metrics', '/']) {
        const answer = await rawRequest({ origin: app.adminUrl, target, headers });
        expect(answer.status).toBe(403);
        expect(answer.body.toString()).toContain('adminHosts');
      }
      for (const target of ['/healthz', '/readyz']) {
        expect((await rawRequest({ origin: app.adminUrl, target, headers })).status).toBe(200);
      }
    }
  });

  it('answers to the names that the settings give it', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub, flags: { adminHosts: 'mirror,mirror.example.net' } });
    for (const host of ['mirror:5001', 'mirror.example.net', '127.0.0.1', '10.9.8.7:5001']) {
      const headers = [['Host', host]] as const;
      const answer = await rawRequest({ origin: app.adminUrl, target: '/metrics', headers });
      expect(answer.status).toBe(200);
    }
  });

  it('needs the token when there is one, and never shows a secret', async () => {
    const hub = await filledHub();
    const env = {
      PIERHEAD_ADMIN_TOKEN: 'admin-token',
      PIERHEAD_UPSTREAM_USERNAME: 'carol',
      PIERHEAD_UPSTREAM_PASSWORD: 'secret-word',
    };
    const app = await startTestApp({ hub, env });
    expect((await fetchRaw(`${app.adminUrl}/api/v1/config`)).status).toBe(401);
    const wrong = await fetchRaw(`${app.adminUrl}/api/v1/config`, {
      headers: { Authorization: 'Bearer admin-tokeN' },
    });
    expect(wrong.status).toBe(401);
    const right = await fetchRaw(`${app.adminUrl}/api/v1/config`, {
      headers: { Authorization: 'Bearer admin-token' },
    });
    expect(right.status).toBe(200);
    expect(right.body.toString()).not.toContain('secret-word');
    expect(right.body.toString()).not.toContain('admin-token');
  });
});
