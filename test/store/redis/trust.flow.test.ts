import { describe, expect, it, onTestFinished } from 'vitest';
import type { FakeHub } from '../../fake/hub.ts';
import { OCI_INDEX } from '../../../src/oci/media-types.ts';
import { image, LINUX_AMD64, storedManifest, type Image } from '../../fixtures/images.ts';
import { refresh } from '../../support/admin.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { filledHub, PLAIN, served } from '../../support/filled-hub.ts';
import { FLEET_SECRET } from '../../support/fleet.ts';
import { metric } from '../../support/metrics.ts';
import { redisInUse } from '../../support/reach.ts';
import { startRedis, type TestRedis } from '../../support/redis.ts';
import { eventually } from '../../support/wait.ts';

const SECRET = image({ message: 'for carol alone' });
const RENEWED = image({ message: 'renewed' });
const layerOf = ({ layers }: Image): string => layers[0]?.digest ?? '';
const AS_CAROL = { PIERHEAD_UPSTREAM_USERNAME: 'carol', PIERHEAD_UPSTREAM_PASSWORD: 'secret' };
const IN_FLEET = { PIERHEAD_FLEET_SECRET: FLEET_SECRET };
const MANIFEST = '/v2/carol/secret/manifests/latest';
const PUBLIC = '/v2/library/plain/manifests/latest';
const GET = { kind: 'manifest', method: 'GET' } as const;

/** A stand-in with a repository that has what no public one has. */
async function hubWithSecret(): Promise<FakeHub> {
  const hub = await filledHub();
  hub.add({ repository: 'carol/secret', tags: ['latest'], image: SECRET, readers: ['carol'] });
  hub.add({ repository: 'library/plain', tags: ['renewed'], image: RENEWED });
  return hub;
}

interface ServerOptions {
  readonly hub: FakeHub;
  readonly redis: TestRedis;
  readonly env?: Readonly<Record<string, string>>;
  readonly dataDir?: string;
  readonly tagTtl?: string;
}

async function server({ hub, redis, env = {}, dataDir, tagTtl = '1h' }: ServerOptions): Promise<TestApp> {
  // On a machine that is busy with other tests Redis must not be thought slow.
  const flags = { redisUrl: redis.url, redisTimeout: '2s', tagTtl };
  const app = await startTestApp({ hub, env, flags, ...(dataDir === undefined ? {} : { dataDir }) });
  await redisInUse(app);
  return app;
}

/** The folder of a server that has cached what carol alone may see, when a pattern let it. */
async function folderWithSecret(hub: FakeHub): Promise<string> {
  const app = await startTestApp({ hub, env: { ...AS_CAROL, PIERHEAD_UPSTREAM_PRIVATE: 'carol/*' } });
  for (const target of [MANIFEST, `/v2/carol/secret/blobs/${layerOf(SECRET)}`])
    expect((await app.get(target)).status).toBe(200);
  await app.stop();
  return app.dataDir;
}

/** A record of a tag as a server would write it just now. */
function tagRecord({ root }: Image, at = Date.now()): string {
  const descriptor = { digest: root.digest, mediaType: root.mediaType, size: root.bytes.length };
  return JSON.stringify({ descriptor, checkedAt: at, confirmedAt: at });
}

const tagKey = (name: string): string => `pierhead:v1:tag:docker.io/${name}:latest`;

describe.each([
  ['without a secret', {}],
  ['with a secret that the writer does not have', IN_FLEET],
])('Somebody who can write to Redis, to a server %s,', (_name, fleet) => {
  it('opens no private repository by the word that it is public', async () => {
    const [hub, redis] = [await hubWithSecret(), await startRedis()];
    const claim = JSON.stringify({ publicAt: Date.now(), at: Date.now() });
    for (const kind of ['repository', 'public'])
      await redis.client.set(`pierhead:v1:${kind}:docker.io/carol/secret`, claim);
    const app = await server({ hub, redis, env: { ...AS_CAROL, ...fleet } });
    for (const target of [MANIFEST, `/v2/carol/secret/blobs/${layerOf(SECRET)}`]) {
      expect((await app.get(target)).status).toBe(404);
    }
    expect(hub.requests.filter(({ identity }) => identity === 'carol')).toEqual([]);
  });

  it('has nothing cached served in a public repository by the word that this holds it', async () => {
    const [hub, redis] = [await hubWithSecret(), await startRedis()];
    const dataDir = await folderWithSecret(hub);
    const claim = JSON.stringify({ by: 'upstream', at: Date.now() });
    for (const digest of [SECRET.root.digest, layerOf(SECRET)])
      for (const kind of ['link', 'link:public', 'link:restricted'])
        await redis.client.set(`pierhead:v1:${kind}:docker.io/library/plain@${digest}`, claim);
    const app = await server({ hub, redis, dataDir, env: { ...AS_CAROL, ...fleet } });
    expect((await app.get(PUBLIC)).status).toBe(200);
    for (const target of [`manifests/${SECRET.root.digest}`, `blobs/${layerOf(SECRET)}`])
      expect((await app.get(`/v2/library/plain/${target}`)).status, target).toBe(404);
  });

  it('has nothing cached served under a public tag that is said to name it', async () => {
    const [hub, redis] = [await hubWithSecret(), await startRedis()];
    const dataDir = await folderWithSecret(hub);
    const app = await server({ hub, redis, dataDir, env: { ...AS_CAROL, ...fleet } });
    await redis.client.set(tagKey('library/plain'), tagRecord(SECRET));
    expect((await app.get(PUBLIC)).body).toEqual(PLAIN.image.root.bytes);
    expect((await app.get(`/v2/library/plain/blobs/${layerOf(SECRET)}`)).status).toBe(404);
  });

  it('has nothing cached served to those who wait for another server either', async () => {
    const [hub, redis] = [await hubWithSecret(), await startRedis()];
    const dataDir = await folderWithSecret(hub);
    const app = await server({ hub, redis, dataDir, env: { ...AS_CAROL, ...fleet } });
    const lock = 'pierhead:v1:lock:get:docker.io/library/plain@latest';
    // Held for ever as far as this server can tell, so that it waits until the record is there.
    const take = () => redis.client.set(lock, 'another', 'PX', 1400);
    await take();
    const hold = setInterval(() => void take(), 100);
    onTestFinished(() => clearInterval(hold));
    const asked = app.get(PUBLIC);
    await eventually(async () => (await metric(app, 'pierhead_fleet_waiting')) === 1, 'it to wait');
    await redis.client.set(tagKey('library/plain'), tagRecord(SECRET));
    clearInterval(hold);
    await redis.client.publish('pierhead:v1:released', `${lock} `);
    await redis.client.del(lock);
    expect((await asked).body).toEqual(PLAIN.image.root.bytes);
  });

  it('moves no tag to what its repository does not hold', async () => {
    const [hub, redis] = [await hubWithSecret(), await startRedis()];
    const dataDir = await folderWithSecret(hub);
    const app = await server({ hub, redis, dataDir, env: { ...AS_CAROL, ...fleet } });
    expect((await app.get(PUBLIC)).status).toBe(200);
    const asked = served(hub, { kind: 'manifest' });
    const record: unknown = JSON.parse(tagRecord(SECRET, Date.now() + 1000));
    const move = { origin: 'another', repository: 'docker.io/library/plain', tag: 'latest', record };
    await redis.client.set(tagKey('library/plain'), JSON.stringify(record));
    await redis.client.publish('pierhead:v1:tags', JSON.stringify(move));
    // Messages are heard in their order.
    await redis.client.publish('pierhead:v1:tags', 'no message of a server');
    await eventually(
      async () => (await metric(app, 'pierhead_redis_errors_total', 'kind="malformed"')) > 0,
      'the messages to be heard',
    );
    for (let i = 0; i < 3; i++) expect((await app.get(PUBLIC)).body).toEqual(PLAIN.image.root.bytes);
    expect(served(hub, { kind: 'manifest', reference: SECRET.root.digest })).toBe(0);
    expect(served(hub, { kind: 'manifest' })).toBe(asked);
  });
});

describe('Servers on one Redis without a secret', () => {
  it('pay for one pull, and each asks by HEAD whether the repository holds it', async () => {
    const [hub, redis] = [await hubWithSecret(), await startRedis()];
    const one = await server({ hub, redis });
    expect((await one.get(PUBLIC)).status).toBe(200);
    await eventually(() => redis.client.get(tagKey('library/plain')), 'the tag in Redis');
    const others = [await server({ hub, redis }), await server({ hub, redis })];
    for (const app of others) {
      for (let i = 0; i < 2; i++) expect((await app.get(PUBLIC)).body).toEqual(PLAIN.image.root.bytes);
      const byDigest = await app.get(`/v2/library/plain/manifests/${PLAIN.image.root.digest}`);
      expect(byDigest.status).toBe(200);
    }
    expect(served(hub, GET)).toBe(1);
    expect(served(hub, { kind: 'manifest', method: 'HEAD' })).toBe(others.length);
  });

  it('pay for one pull of what several are asked for at once', async () => {
    const [hub, redis] = [await hubWithSecret(), await startRedis()];
    const servers = [await server({ hub, redis }), await server({ hub, redis })];
    const held = hub.fault({ match: GET, do: { holdHeaders: true } });
    const asked = servers.map((app) => app.get(PUBLIC));
    await held.reached;
    await eventually(async () => {
      const each = await Promise.all(servers.map((app) => metric(app, 'pierhead_fleet_waiting')));
      return each.includes(1);
    }, 'the other to wait');
    held.release();
    for (const answer of await Promise.all(asked)) expect(answer.body).toEqual(PLAIN.image.root.bytes);
    expect(served(hub, GET)).toBe(1);
  });

  it('follow a tag that has moved by a check of their own, without a pull', async () => {
    const [hub, redis] = [await hubWithSecret(), await startRedis()];
    const [one, two] = [await server({ hub, redis }), await server({ hub, redis, tagTtl: '0s' })];
    for (const app of [one, two]) expect((await app.get(PUBLIC)).status).toBe(200);
    hub.moveTag('library/plain', 'latest', RENEWED.root.digest);
    expect((await refresh(one, 'library/plain')).json).toMatchObject({ result: 'moved' });
    const key = `pierhead:v1:manifest:${RENEWED.root.digest}`;
    await eventually(async () => (await redis.client.exists(key)) === 1, 'the manifest in Redis');
    const answer = await two.get(PUBLIC);
    expect(answer.body).toEqual(RENEWED.root.bytes);
    expect(answer.header('warning')).toBeUndefined();
    expect(served(hub, { ...GET, reference: RENEWED.root.digest })).toBe(1);
  });
});

describe('Servers with the same secret', () => {
  it('spare each other the question whether a repository is public', async () => {
    const [hub, redis] = [await hubWithSecret(), await startRedis()];
    const env = { ...AS_CAROL, ...IN_FLEET };
    const [one, two] = [await server({ hub, redis, env }), await server({ hub, redis, env })];
    expect((await one.get(PUBLIC)).status).toBe(200);
    const claim = 'pierhead:v1:public:docker.io/library/plain';
    await eventually(async () => (await redis.client.exists(claim)) === 1, 'the word in Redis');
    await eventually(() => redis.client.get(tagKey('library/plain')), 'the tag in Redis');
    const asked = hub.requests.length;
    expect((await two.get(PUBLIC)).status).toBe(200);
    expect(hub.requests).toHaveLength(asked);
  });

  it('share what clients may ask for under rules that name tags, and have nothing cached served by that', async () => {
    const [hub, redis] = [await hubWithSecret(), await startRedis()];
    const trap = storedManifest(OCI_INDEX, {
      manifests: [SECRET, RENEWED].map(({ root: { mediaType, digest, bytes } }) => {
        return { mediaType, digest, size: bytes.length, platform: LINUX_AMD64 };
      }),
    });
    hub.addManifest('library/plain', trap, ['trap']);
    const rules = { PIERHEAD_UPSTREAM_PRIVATE: 'carol/*', PIERHEAD_UPSTREAM_DENY: 'library/plain:renewed' };
    const env = { ...AS_CAROL, ...IN_FLEET, ...rules };
    const [one, two] = [await server({ hub, redis, env }), await server({ hub, redis, env })];
    for (const target of [MANIFEST, `/v2/carol/secret/blobs/${layerOf(SECRET)}`])
      for (const app of [one, two]) expect((await app.get(target)).status).toBe(200);
    const offer = `pierhead:v1:offer:docker.io/library/plain@${RENEWED.root.digest}`;
    expect((await two.get(`/v2/library/plain/manifests/${RENEWED.root.digest}`)).status).toBe(403);
    expect((await one.get('/v2/library/plain/manifests/trap')).status).toBe(200);
    await eventually(async () => (await redis.client.exists(offer)) === 1, 'the word in Redis');
    expect((await two.get(`/v2/library/plain/manifests/${RENEWED.root.digest}`)).status).toBe(200);
    for (const app of [one, two]) {
      const byDigest = `/v2/library/plain/manifests/${SECRET.root.digest}`;
      expect((await app.get(byDigest)).status).toBe(404);
      expect((await app.get(`/v2/library/plain/blobs/${layerOf(SECRET)}`)).status).toBe(403);
    }
  });

  it('share what only their credentials can see, and not with one that has none', async () => {
    const [hub, redis] = [await hubWithSecret(), await startRedis()];
    const env = { ...AS_CAROL, ...IN_FLEET, PIERHEAD_UPSTREAM_PRIVATE: 'carol/*' };
    const [one, two] = [await server({ hub, redis, env }), await server({ hub, redis, env })];
    const stranger = await server({ hub, redis, env: IN_FLEET });
    expect((await one.get(MANIFEST)).status).toBe(200);
    await eventually(() => redis.client.get(tagKey('carol/secret')), 'the tag in Redis');
    const asked = hub.requests.length;
    expect((await two.get(MANIFEST)).status).toBe(200);
    expect(hub.requests).toHaveLength(asked);
    for (const target of [MANIFEST, `/v2/carol/secret/manifests/${SECRET.root.digest}`])
      expect((await stranger.get(target)).status, target).toBe(404);
  });
});
