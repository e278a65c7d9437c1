import { describe, expect, it } from 'vitest';
import type { FakeHub } from '../../fake/hub.ts';
import { multiPlatform } from '../../fixtures/images.ts';
import { refresh } from '../../support/admin.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { filledHub, GOLANG, PLAIN, served } from '../../support/filled-hub.ts';
import { FLEET_SECRET } from '../../support/fleet.ts';
import { freePort } from '../../support/free-port.ts';
import { metric } from '../../support/metrics.ts';
import { redisInUse } from '../../support/reach.ts';
import { startRedis, type TestRedis } from '../../support/redis.ts';
import { startSlowLink } from '../../support/slow-link.ts';
import { eventually } from '../../support/wait.ts';

const LATEST = '/v2/library/golang/manifests/latest';
const NAMES = Array.from({ length: 8 }, (_, index) => `library/part-${index}`);
/** Of a machine that is busy with other tests, Redis must not be thought slow when it is not the point. */
const PATIENT = { redisTimeout: '2s' };

/** A stand-in with some repositories more, for pulls that are cold. */
async function widerHub(): Promise<FakeHub> {
  const hub = await filledHub();
  for (const repository of NAMES) hub.add({ ...PLAIN, repository });
  return hub;
}

async function appWith(
  hub: FakeHub,
  redisUrl: string,
  flags: Readonly<Record<string, string>> = PATIENT,
): Promise<TestApp> {
  const env = { PIERHEAD_FLEET_SECRET: FLEET_SECRET };
  return startTestApp({ hub, flags: { redisUrl, ...flags }, env });
}

const isUp = async (app: TestApp): Promise<boolean> => (await metric(app, 'pierhead_redis_up')) === 1;
const errors = (app: TestApp, kind: string): Promise<number> =>
  metric(app, 'pierhead_redis_errors_total', `kind="${kind}"`);

/** Cold and warm, by tag and by digest: everything must be served, byte for byte. */
async function checkPulls(app: TestApp): Promise<void> {
  for (const name of NAMES) {
    for (const reference of ['latest', 'latest', PLAIN.image.root.digest]) {
      const answer = await app.get(`/v2/${name}/manifests/${reference}`);
      expect(answer.status).toBe(200);
      expect(answer.body).toEqual(PLAIN.image.root.bytes);
      expect(answer.header('warning')).toBeUndefined();
    }
  }
}

const kept = async (redis: TestRedis, name: string): Promise<boolean> =>
  (await redis.client.exists(`pierhead:v1:tag:docker.io/${name}:latest`)) === 1;

describe('A Redis', () => {
  it('that is frozen is waited for once, and used again when it thaws', async () => {
    const [hub, redis] = [await widerHub(), await startRedis()];
    const app = await appWith(hub, redis.url, { redisTimeout: '1s' });
    await redisInUse(app);
    redis.pause();
    await checkPulls(app);
    // All later pulls went on without it: each would have timed out as well.
    expect(await errors(app, 'timeout')).toBe(1);
    expect(await metric(app, 'pierhead_redis_state', 'state="waiting"')).toBe(1);
    expect(JSON.parse((await app.get('/readyz')).body.toString())).toMatchObject({ degraded: ['redis'] });
    redis.resume();
    await redisInUse(app);
    await app.get(LATEST);
    await eventually(() => kept(redis, 'library/golang'), 'the tag in Redis');
  });

  it('that is frozen from before the start on delays neither that nor any pull', async () => {
    const [hub, redis] = [await widerHub(), await startRedis()];
    redis.pause();
    // It takes connections and greets nobody.
    const app = await appWith(hub, redis.url);
    await checkPulls(app);
    expect(await metric(app, 'pierhead_redis_state', 'state="down"')).toBe(1);
    redis.resume();
    await redisInUse(app);
  });

  it('that is killed is not missed, and used again when it is back', async () => {
    const [hub, redis] = [await widerHub(), await startRedis()];
    const app = await appWith(hub, redis.url);
    await redisInUse(app);
    await redis.stop();
    await checkPulls(app);
    expect(await errors(app, 'timeout')).toBe(0);
    expect(await metric(app, 'pierhead_redis_state', 'state="down"')).toBe(1);
    await redis.restart();
    await redisInUse(app);
    await app.get(LATEST);
    await eventually(() => kept(redis, 'library/golang'), 'the tag in Redis');
  });

  it('that comes up after the server is used from then on, its messages too', async () => {
    const hub = await widerHub();
    const redis = await startRedis();
    await redis.stop();
    const apps = [await appWith(hub, redis.url), await appWith(hub, redis.url)] as const;
    for (const app of apps) await checkPulls(app);
    await redis.restart();
    for (const app of apps) await redisInUse(app);
    const renewed = multiPlatform({ message: 'renewed' });
    hub.add({ repository: 'library/golang', image: renewed });
    for (const app of apps) await app.get(LATEST);
    hub.moveTag('library/golang', 'latest', renewed.root.digest);
    // Only the first one is told to look.
    expect((await refresh(apps[0], 'golang')).json).toMatchObject({ result: 'moved' });
    await eventually(
      async () => (await apps[1].get(LATEST)).header('docker-content-digest') === renewed.root.digest,
      'the move at the other',
    );
  });

  it('that was flushed costs upstream nothing, as the embedded store has it all', async () => {
    const [hub, redis] = [await widerHub(), await startRedis()];
    const app = await appWith(hub, redis.url);
    await redisInUse(app);
    await checkPulls(app);
    const asked = served(hub, { kind: 'manifest' });
    await redis.client.flushall();
    await checkPulls(app);
    expect(served(hub, { kind: 'manifest' })).toBe(asked);
  });

  it('that is full keeps nothing new, and nothing else', async () => {
    const [hub, redis] = [await widerHub(), await startRedis(['--maxmemory-policy', 'noeviction'])];
    const app = await appWith(hub, redis.url);
    await redisInUse(app);
    await redis.client.config('SET', 'maxmemory', '1');
    await checkPulls(app);
    expect(await errors(app, 'full')).toBeGreaterThan(0);
    expect(await isUp(app)).toBe(true);
    await redis.client.config('SET', 'maxmemory', '0');
    await app.get(LATEST);
    await eventually(() => kept(redis, 'library/golang'), 'the tag in Redis');
  });

  it('that is a replica is read and not written', async () => {
    const [hub, master] = [await widerHub(), await startRedis()];
    const replica = await startRedis(['--replicaof', '127.0.0.1', String(master.port)]);
    await eventually(
      async () => (await replica.client.info('replication')).includes('master_link_status:up'),
      'the replica to follow',
    );
    const writer = await appWith(hub, master.url);
    await redisInUse(writer);
    await writer.get(LATEST);
    await eventually(() => kept(replica, 'library/golang'), 'the tag at the replica');
    const reader = await appWith(hub, replica.url);
    await redisInUse(reader);
    const asked = served(hub, { kind: 'manifest' });
    expect((await reader.get(LATEST)).status).toBe(200);
    expect(served(hub, { kind: 'manifest' })).toBe(asked);
    await checkPulls(reader);
    expect(await errors(reader, 'read-only')).toBeGreaterThan(0);
  });

  it('that refuses our password is not missed, and used when it takes it', async () => {
    const [hub, redis] = [await widerHub(), await startRedis(['--requirepass', 'right'])];
    const app = await appWith(hub, redis.url.replace('//', '//:wrong-password@'));
    await eventually(async () => (await errors(app, 'credentials')) > 0, 'the refusal');
    await checkPulls(app);
    expect(await isUp(app)).toBe(false);
    await redis.client.config('SET', 'requirepass', 'wrong-password');
    await redisInUse(app);
    expect(JSON.stringify(app.log)).not.toContain('wrong-password');
  });

  it('that goes away in the middle of a pull fails nobody', async () => {
    const [hub, redis] = [await widerHub(), await startRedis()];
    const app = await appWith(hub, redis.url);
    await redisInUse(app);
    const held = hub.fault({ match: { kind: 'manifest', method: 'GET' }, do: { holdHeaders: true } });
    const pulls = NAMES.map((name) => app.get(`/v2/${name}/manifests/latest`));
    await held.reached;
    await redis.stop();
    held.release();
    for (const { status } of await Promise.all(pulls)) expect(status).toBe(200);
  });

  it(
    'that takes its time over every call is waited for by a request no longer than by one call',
    { timeout: 60_000 },
    async () => {
      const [hub, redis] = [await widerHub(), await startRedis()];
      const port = await startSlowLink({ port: redis.port, delayMs: 620 });
      const app = await appWith(hub, `redis://127.0.0.1:${port}`, { redisTimeout: '2s' });
      await redisInUse(app);
      // On a busy machine one may not be enough: what this process sleeps through is no wait for Redis.
      for (const name of NAMES) {
        expect((await app.get(`/v2/${name}/manifests/latest`)).status).toBe(200);
        if ((await errors(app, 'slow')) > 0) break;
      }
      // So many calls were not made, or not waited for to the end; Redis is in use all the same.
      expect(await errors(app, 'slow')).toBeGreaterThan(0);
      expect(await isUp(app)).toBe(true);
      const [name = ''] = NAMES;
      await eventually(() => kept(redis, name), 'the tag in Redis');
    },
  );

  it('on a port where nobody listens is not missed', async () => {
    const hub = await widerHub();
    const app = await appWith(hub, `redis://127.0.0.1:${await freePort()}`);
    await checkPulls(app);
    expect(await errors(app, 'connection')).toBeGreaterThan(0);
  });
});

describe("Another program's data under our keys", () => {
  const digest = GOLANG.image.root.digest;
  const repository = 'docker.io/library/golang';
  const keys = [
    `pierhead:v1:tag:${repository}:latest`,
    `pierhead:v1:manifest:${digest}`,
    `pierhead:v1:link:public:${repository}@${digest}`,
    `pierhead:v1:public:${repository}`,
    `pierhead:v1:lock:get:${repository}@latest`,
  ];

  it.each([
    ['is of another type', (redis: TestRedis, key: string) => redis.client.hset(key, 'a', 'b')],
    ['is no JSON', (redis: TestRedis, key: string) => redis.client.set(key, '{ "not": json')],
    ['is empty', (redis: TestRedis, key: string) => redis.client.set(key, '')],
    [
      'is JSON of something else',
      (redis: TestRedis, key: string) => redis.client.set(key, '{"by":1,"descriptor":{}}'),
    ],
    ['is binary', (redis: TestRedis, key: string) => redis.client.set(key, Buffer.from([0, 1, 2, 255, 0]))],
  ])('that %s is a miss, and makes room for ours', async (_name, put) => {
    const [hub, redis] = [await filledHub(), await startRedis()];
    for (const key of keys) await put(redis, key);
    const app = await appWith(hub, redis.url);
    await redisInUse(app);
    const answer = await app.get(LATEST);
    expect(answer.status).toBe(200);
    expect(answer.body).toEqual(GOLANG.image.root.bytes);
    expect((await app.get(`/v2/library/golang/manifests/${digest}`)).status).toBe(200);
    expect(served(hub, { kind: 'manifest', method: 'GET' })).toBe(1);
    await eventually(async () => {
      const text = await redis.client.get(keys[0] ?? '').catch(() => '');
      return text?.includes(digest);
    }, 'our record of the tag');
  });

  it('that would be fresh for ever, or become a header that cannot be sent, is not believed', async () => {
    const [hub, redis] = [await filledHub(), await startRedis()];
    const { root } = PLAIN.image;
    const descriptor = { digest: root.digest, mediaType: root.mediaType, size: root.bytes.length };
    const far = Date.now() + 1e12;
    const records = [
      { descriptor, checkedAt: far, confirmedAt: far },
      {
        descriptor: { ...descriptor, mediaType: 'a\r\nSet-Cookie: b' },
        checkedAt: Date.now(),
        confirmedAt: 0,
      },
      { descriptor: { ...descriptor, size: -1 }, checkedAt: Date.now(), confirmedAt: 0 },
    ];
    for (const record of records) {
      await redis.client.flushall();
      await redis.client.set(keys[0] ?? '', JSON.stringify(record));
      const app = await appWith(hub, redis.url);
      await redisInUse(app);
      const answer = await app.head(LATEST);
      expect(answer.status).toBe(200);
      expect(answer.header('docker-content-digest')).toBe(digest);
      expect(await errors(app, 'malformed')).toBeGreaterThan(0);
      await app.stop();
    }
  });
});
