import { describe, expect, it, onTestFinished } from 'vitest';
import type { FleetLock, Lease } from '../../../src/store/fleet-lock.ts';
import { RedisConnection } from '../../../src/store/redis/connection.ts';
import { createRedisFleetLock } from '../../../src/store/redis/fleet-lock.ts';
import { startRedis, type TestRedis } from '../../support/redis.ts';
import { startSlowLink } from '../../support/slow-link.ts';
import { tellNobody } from '../../support/told.ts';
import { eventually } from '../../support/wait.ts';

const KEY = 'check:docker.io/library/golang:latest';
const REDIS_KEY = `pierhead:v1:lock:${KEY}`;

async function lockOn(redis: TestRedis, callTimeoutMs = 2000): Promise<FleetLock> {
  const connection = new RedisConnection({ url: redis.url, callTimeoutMs, tell: tellNobody });
  onTestFinished(() => connection.close());
  const lock = createRedisFleetLock(connection);
  await eventually(() => connection.state === 'up', 'the connection to Redis');
  return lock;
}

async function leaseOf(lock: FleetLock, key = KEY): Promise<Lease> {
  const taken = await lock.take(key);
  if (typeof taken === 'string') throw new Error(`not taken but ${taken}`);
  return taken;
}

/** Asks for longer than a lease lasts. */
async function expectHeldOn(lock: FleetLock): Promise<void> {
  const until = Date.now() + 2500;
  await eventually(async () => {
    expect(await lock.take(KEY)).toBe('held');
    return Date.now() > until;
  }, 'more time than a lease has');
}

describe('A lock in Redis', () => {
  it('is held by one server, and wakes the others with what its holder says', async () => {
    const redis = await startRedis();
    const [one, two] = [await lockOn(redis), await lockOn(redis)];
    const lease = await leaseOf(one);
    expect(await two.take(KEY)).toBe('held');
    expect(typeof (await two.take('another'))).toBe('object');
    const woken = two.released(KEY, 10_000);
    lease.release('done: {"a": "b"}');
    expect(await woken).toBe('done: {"a": "b"}');
    (await leaseOf(two)).release('');
  });

  it('is held for as long as its holder is at work, beyond the lease', async () => {
    const redis = await startRedis();
    const [one, two] = [await lockOn(redis), await lockOn(redis)];
    const lease = await leaseOf(one);
    await expectHeldOn(two);
    lease.release('');
  });

  it('is held on while Redis is too slow for its holder to wait for', { timeout: 60_000 }, async () => {
    const redis = await startRedis();
    const port = await startSlowLink({ port: redis.port, delayMs: 500 });
    const connection = new RedisConnection({
      url: `redis://127.0.0.1:${port}`,
      callTimeoutMs: 800,
      tell: tellNobody,
    });
    onTestFinished(() => connection.close());
    await eventually(() => connection.state === 'up', 'the connection to Redis');
    const lease = await leaseOf(createRedisFleetLock(connection));
    await eventually(async () => {
      await connection.try((client) => client.ping());
      return connection.state === 'waiting';
    }, 'Redis to be thought slow');
    const two = await lockOn(redis);
    await expectHeldOn(two);
    lease.release('');
  });

  it('is free when the lease of a dead holder has run out', async () => {
    const redis = await startRedis();
    const two = await lockOn(redis);
    // What a holder leaves behind that was killed: nobody renews it.
    await redis.client.set(REDIS_KEY, 'somebody', 'PX', 1000);
    expect(await two.take(KEY)).toBe('held');
    const lease = await eventually(async () => {
      const taken = await two.take(KEY);
      return typeof taken !== 'string' && taken;
    }, 'the lease to run out');
    lease.release('');
  });

  it('is not given back by one who has lost it', async () => {
    const redis = await startRedis();
    const [one, two] = [await lockOn(redis), await lockOn(redis)];
    const lost = await leaseOf(one);
    await redis.client.del(REDIS_KEY);
    const lease = await leaseOf(two);
    lost.release('');
    // Commands of a connection are done in order: this one after what the release sends.
    await leaseOf(one, 'afterwards');
    expect(await one.take(KEY)).toBe('held');
    lease.release('');
  });

  it.each([
    ['never runs out', (redis: TestRedis) => redis.client.set(REDIS_KEY, 'x')],
    ['runs out late', (redis: TestRedis) => redis.client.set(REDIS_KEY, 'x', 'PX', 3_600_000)],
    ['is no text', (redis: TestRedis) => redis.client.hset(REDIS_KEY, 'a', 'b')],
  ])('is taken from another program whose key %s', async (_name, put) => {
    const redis = await startRedis();
    const lock = await lockOn(redis);
    await put(redis);
    (await leaseOf(lock)).release('');
    await eventually(async () => (await redis.client.exists(REDIS_KEY)) === 0, 'the lock to be free');
  });

  it('is no lock while Redis is gone, and nobody waits for it any more', async () => {
    const redis = await startRedis();
    const [one, two] = [await lockOn(redis), await lockOn(redis)];
    await leaseOf(one);
    const woken = two.released(KEY, 60_000);
    await redis.stop();
    expect(await woken).toBeUndefined();
    expect(await two.take(KEY)).toBe('alone');
  });

  it('is no lock while Redis is frozen', async () => {
    const redis = await startRedis();
    const lock = await lockOn(redis, 200);
    redis.pause();
    expect(await lock.take(KEY)).toBe('alone');
    redis.resume();
  });
});
