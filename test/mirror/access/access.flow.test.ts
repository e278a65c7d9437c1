import { describe, expect, it } from 'vitest';
import { startTestApp } from '../../support/app.ts';
import { filledHub, PLAIN, served } from '../../support/filled-hub.ts';

const MANIFEST = '/v2/carol/private/manifests/latest';
const [layer] = PLAIN.image.layers;
const BLOB = `/v2/carol/private/blobs/${layer?.digest}`;
const TAGS = '/v2/carol/private/tags/list';
const asCarol = { PIERHEAD_UPSTREAM_USERNAME: 'carol', PIERHEAD_UPSTREAM_PASSWORD: 'secret' };
const named = { ...asCarol, PIERHEAD_UPSTREAM_PRIVATE: 'carol/*' };

describe('with credentials configured', () => {
  it('a private repository is not served, although we could fetch it', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub, env: asCarol });
    for (const target of [MANIFEST, `/v2/carol/private/manifests/${PLAIN.image.root.digest}`, BLOB, TAGS]) {
      for (const answer of [await app.get(target), await app.head(target)])
        expect(answer.status, target).toBe(404);
    }
    expect(hub.requests.filter(({ identity }) => identity === 'carol')).toEqual([]);
  });

  it('a public repository is, with our credentials, after one anonymous look at it', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub, env: asCarol });
    expect((await app.get('/v2/library/plain/manifests/latest')).status).toBe(200);
    expect((await app.get(`/v2/library/plain/blobs/${layer?.digest}`)).status).toBe(200);
    expect((await app.get(`/v2/library/plain/blobs/${PLAIN.image.config.digest}`)).status).toBe(200);
    const byAnonymous = hub.requests.filter(
      ({ host, identity }) => host === 'registry' && identity === 'anonymous',
    );
    expect(byAnonymous.map(({ method, kind }) => [method, kind])).toEqual([['HEAD', 'manifest']]);
    const byUs = hub.requests.filter(({ host, identity }) => host === 'registry' && identity === 'carol');
    expect(byUs.map(({ method }) => method)).toEqual(['GET', 'GET', 'GET']);
  });

  it('a private repository is served if a pattern names it', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub, env: named });
    expect((await app.get(MANIFEST)).status).toBe(200);
    expect((await app.get(BLOB)).status).toBe(200);
    expect((await app.get(TAGS)).status).toBe(200);
    expect((await app.get('/v2/_catalog')).body.toString()).toContain('docker.io/carol/private');
  });

  it('a blob of a private repository is not had through a public one', async () => {
    const hub = await filledHub();
    const secret = PLAIN.image.layers[0]?.digest;
    hub.add({ repository: 'carol/other', tags: ['latest'], image: PLAIN.image, readers: ['carol'] });
    hub.removeRepository('library/plain');
    const app = await startTestApp({ hub, env: { ...asCarol, PIERHEAD_UPSTREAM_PRIVATE: 'carol/other' } });
    expect((await app.get(`/v2/carol/other/blobs/${secret}`)).status).toBe(200);
    for (const target of [`/v2/library/golang/blobs/${secret}`, `/v2/carol/private/blobs/${secret}`]) {
      expect((await app.get(target)).status, target).toBe(404);
      expect((await app.head(target)).status, target).toBe(404);
    }
  });

  it('a repository that has become private is refused from the next look on', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub, env: asCarol, flags: { tagTtl: '0s' } });
    expect((await app.get('/v2/library/plain/manifests/latest')).status).toBe(200);
    hub.setReaders('library/plain', ['dave']);
    hub.expireTokens();
    expect((await app.get('/v2/library/plain/manifests/latest')).status).toBe(404);
  });

  it('a verdict lasts its day by the clock as it is, also when that was set back meanwhile', async () => {
    const hub = await filledHub();
    let now = Date.now() + 7 * 24 * 60 * 60 * 1000;
    const app = await startTestApp({ hub, env: asCarol, now: () => now });
    const target = '/v2/library/plain/manifests/latest';
    expect((await app.get(target)).status).toBe(200);
    now = Date.now();
    hub.setReaders('library/plain', ['carol']);
    hub.expireTokens();
    expect((await app.get(target)).status).toBe(404);
  });

  it('nothing of an unknown repository is served while upstream cannot be asked', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub, env: asCarol });
    await hub.stop();
    expect((await app.get('/v2/library/plain/manifests/latest')).status).toBe(503);
  });

  it('that are wrong, misses are 503 with the reason and never 404', async () => {
    const hub = await filledHub();
    const env = {
      PIERHEAD_UPSTREAM_USERNAME: 'carol',
      PIERHEAD_UPSTREAM_PASSWORD: 'wrong-password',
      PIERHEAD_UPSTREAM_PRIVATE: 'library/*',
    };
    const app = await startTestApp({ hub, env });
    const answer = await app.get('/v2/library/plain/manifests/latest');
    expect(answer.status).toBe(503);
    expect(answer.body.toString()).toContain('credentials');
    expect(JSON.stringify(app.log) + answer.body.toString()).not.toContain('wrong-password');
  });
});

describe('without credentials any more', () => {
  it('what was cached with them under a pattern is not served', async () => {
    const hub = await filledHub();
    const first = await startTestApp({ hub, env: named });
    expect((await first.get(MANIFEST)).status).toBe(200);
    expect((await first.get(BLOB)).status).toBe(200);
    await first.stop();
    const second = await startTestApp({ hub, dataDir: first.dataDir });
    expect((await second.get(MANIFEST)).status).toBe(404);
    expect((await second.get(BLOB)).status).toBe(404);
    expect((await second.get('/v2/_catalog')).body.toString()).not.toContain('carol/private');
  });
});

describe('without credentials', () => {
  it('public repositories cost no extra look', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    await app.get('/v2/library/plain/manifests/latest');
    expect(served(hub, { host: 'registry' })).toBe(1);
  });

  it('what was cached stays to be had when credentials come and upstream is away', async () => {
    const hub = await filledHub();
    const first = await startTestApp({ hub });
    await first.get('/v2/library/plain/manifests/latest');
    await first.stop();
    await hub.stop();
    const second = await startTestApp({ hub, dataDir: first.dataDir, env: asCarol });
    expect((await second.get('/v2/library/plain/manifests/latest')).status).toBe(200);
  });
});

describe('clients', () => {
  it('are not challenged either when upstream challenges us, whatever they ask', async () => {
    const hub = await filledHub();
    const headers = { 'WWW-Authenticate': 'Basic realm="upstream"', 'X-Upstream': 'yes' };
    hub.fault({ match: {}, do: { status: { code: 401, headers } } });
    const app = await startTestApp({ hub });
    const digest = PLAIN.image.root.digest;
    for (const [method, target] of [
      ['GET', '/v2/library/plain/manifests/latest'],
      ['HEAD', '/v2/library/plain/manifests/latest'],
      ['GET', `/v2/library/plain/manifests/${digest}`],
      ['GET', `/v2/library/plain/blobs/${digest}`],
      ['HEAD', `/v2/library/plain/blobs/${digest}`],
      ['GET', '/v2/library/plain/tags/list'],
      ['GET', `/v2/library/plain/referrers/${digest}`],
      ['GET', '/v2/nowhere.example/a/manifests/latest'],
      ['PUT', '/v2/library/plain/manifests/latest'],
      ['POST', '/v2/library/plain/blobs/uploads/'],
      ['GET', '/v1/users/'],
      ['GET', '/v2/library/plain/manifests/latest?n=x&platform=y'],
    ] as const) {
      const answer = await app.get(target, { method });
      expect(answer.status, target).not.toBe(401);
      for (const name of ['www-authenticate', 'proxy-authenticate', 'x-upstream'])
        expect(answer.header(name), target).toBeUndefined();
    }
  });

  it('are never asked for credentials, and theirs go nowhere', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    const headers = [['Authorization', 'Basic dXNlcjpjbGllbnQtc2VjcmV0']] as const;
    const answers = [
      await app.get('/v2/', { headers }),
      await app.get('/v2/library/plain/manifests/latest', { headers }),
      await app.get(MANIFEST, { headers }),
      await app.get(BLOB, { headers }),
    ];
    for (const answer of answers) {
      expect(answer.status).not.toBe(401);
      expect(answer.header('www-authenticate')).toBeUndefined();
    }
    const seen =
      hub.requests.map(({ headers: sent }) => sent.authorization ?? '').join(' ') + JSON.stringify(app.log);
    expect(seen).not.toContain('dXNlcjpjbGllbnQtc2VjcmV0');
  });
});
