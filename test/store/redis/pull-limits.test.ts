import { describe, expect, it, onTestFinished } from 'vitest';
import type { PullLimitNews } from '../../../src/oci/pull-limit.ts';
import { RedisConnection } from '../../../src/store/redis/connection.ts';
import { createRedisPullLimits } from '../../../src/store/redis/pull-limits.ts';
import { startRedis } from '../../support/redis.ts';
import { tellNobody } from '../../support/told.ts';
import { eventually } from '../../support/wait.ts';

const KEY = 'docker.io anonymous';
const NOW = 1_800_000_000_000;
const state = {
  identity: 'anonymous',
  source: '192.0.2.1',
  limit: 100,
  remaining: 40,
  windowMs: 21_600_000,
  readAt: NOW,
  isLow: false,
};

async function pullLimitsOn(url: string) {
  const connection = new RedisConnection({ url, callTimeoutMs: 2000, tell: tellNobody });
  onTestFinished(() => connection.close());
  await eventually(() => connection.state === 'up', 'the connection to Redis');
  const pullLimits = createRedisPullLimits(connection, { now: () => NOW });
  const heard: { key: string; news: PullLimitNews }[] = [];
  pullLimits.subscribe((key, news) => void heard.push({ key, news }));
  return { pullLimits, heard };
}

describe('Pull limits that servers share by Redis', () => {
  it('are told to the others and left for those who come later', async () => {
    const { url, client } = await startRedis();
    const one = await pullLimitsOn(url);
    const two = await pullLimitsOn(url);
    await eventually(
      async () => Number((await client.pubsub('NUMSUB', 'pierhead:v1:budgets'))[1]) === 2,
      'both',
    );
    one.pullLimits.publish(KEY, { kind: 'read', state });
    one.pullLimits.publish(KEY, { kind: 'spent', pulls: 1, source: '192.0.2.1' });
    await eventually(() => two.heard.length === 2, 'the other to hear');
    expect(two.heard).toEqual([
      { key: KEY, news: { kind: 'read', state } },
      { key: KEY, news: { kind: 'spent', pulls: 1, source: '192.0.2.1' } },
    ]);
    expect(one.heard).toEqual([]);
    const late = await pullLimitsOn(url);
    expect(await late.pullLimits.load(KEY)).toEqual(state);
    expect(await late.pullLimits.load('docker.io bob')).toBeUndefined();
  });

  it.each([
    ['no JSON', '{'],
    ['something else', '{"a":1}'],
    ['from the future', JSON.stringify({ ...state, readAt: NOW + 3_600_000 })],
    ['of a time that no calendar has', JSON.stringify({ ...state, readAt: NOW, windowMs: 1e300 })],
    ['without a number where one is needed', JSON.stringify({ ...state, readAt: 'soon' })],
  ])('are not believed if they are %s', async (_name, text) => {
    const { url, client } = await startRedis();
    const { pullLimits, heard } = await pullLimitsOn(url);
    await client.set(`pierhead:v1:budget:${KEY}`, text);
    expect(await pullLimits.load(KEY)).toBeUndefined();
    await eventually(
      async () => Number((await client.pubsub('NUMSUB', 'pierhead:v1:budgets'))[1]) === 1,
      'it',
    );
    await client.publish('pierhead:v1:budgets', text);
    await client.publish('pierhead:v1:budgets', `{"key":"${KEY}","news":{"kind":"read","state":${text}}}`);
    await client.publish('pierhead:v1:budgets', `{"key":"${KEY}","news":{"kind":"spent","pulls":-1}}`);
    await client.publish('pierhead:v1:budgets', `{"key":"${KEY}","news":{"kind":"spent","pulls":2}}`);
    await eventually(() => heard.length > 0, 'the last message');
    expect(heard).toEqual([{ key: KEY, news: { kind: 'spent', pulls: 2 } }]);
  });

  it('are each server’s own while Redis is gone', async () => {
    const redis = await startRedis();
    const { pullLimits } = await pullLimitsOn(redis.url);
    await redis.stop();
    pullLimits.publish(KEY, { kind: 'read', state });
    expect(await pullLimits.load(KEY)).toBeUndefined();
  });
});
