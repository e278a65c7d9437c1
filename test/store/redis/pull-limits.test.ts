import { describe, expect, it, onTestFinished } from 'vitest';
import type { BudgetNews } from '../../../src/oci/pull-limit.ts';
import { createRedisBudgets } from '../../../src/store/redis/pull-limits.ts';
import { RedisConnection } from '../../../src/store/redis/connection.ts';
import { startRedis } from '../../support/redis.ts';
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

async function budgetsOn(url: string) {
  const connection = new RedisConnection({ url, callTimeoutMs: 2000 });
  onTestFinished(() => connection.close());
  await eventually(() => connection.state === 'up', 'the connection to Redis');
  const budgets = createRedisBudgets(connection, { now: () => NOW });
  const heard: { key: string; news: BudgetNews }[] = [];
  budgets.subscribe((key, news) => void heard.push({ key, news }));
  return { budgets, heard };
}

describe('Pull limits that servers share by Redis', () => {
  it('are told to the others and left for those who come later', async () => {
    const { url, client } = await startRedis();
    const one = await budgetsOn(url);
    const two = await budgetsOn(url);
    await eventually(
      async () => Number((await client.pubsub('NUMSUB', 'pierhead:v1:budgets'))[1]) === 2,
      'both',
    );
    one.budgets.publish(KEY, { kind: 'read', state });
    one.budgets.publish(KEY, { kind: 'spent', pulls: 1, source: '192.0.2.1' });
    await eventually(() => two.heard.length === 2, 'the other to hear');
    expect(two.heard).toEqual([
      { key: KEY, news: { kind: 'read', state } },
      { key: KEY, news: { kind: 'spent', pulls: 1, source: '192.0.2.1' } },
    ]);
    expect(one.heard).toEqual([]);
    const late = await budgetsOn(url);
    expect(await late.budgets.load(KEY)).toEqual(state);
    expect(await late.budgets.load('docker.io bob')).toBeUndefined();
  });

  it.each([
    ['no JSON', '{'],
    ['something else', '{"a":1}'],
    ['from the future', JSON.stringify({ ...state, readAt: NOW + 3_600_000 })],
    ['of a time that no calendar has', JSON.stringify({ ...state, readAt: NOW, windowMs: 1e300 })],
    ['without a number where one is needed', JSON.stringify({ ...state, readAt: 'soon' })],
  ])('are not believed if they are %s', async (_name, text) => {
    const { url, client } = await startRedis();
    const { budgets, heard } = await budgetsOn(url);
    await client.set(`pierhead:v1:budget:${KEY}`, text);
    expect(await budgets.load(KEY)).toBeUndefined();
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
    const { budgets } = await budgetsOn(redis.url);
    await redis.stop();
    budgets.publish(KEY, { kind: 'read', state });
    expect(await budgets.load(KEY)).toBeUndefined();
  });
});
