import dns from 'node:dns';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { expect, describe, it, onTestFinished, vi } from 'vitest';
import { createRedisClients } from '../../../src/store/redis/clients.ts';
import { RedisConnection } from '../../../src/store/redis/connection.ts';
import { Gate } from '../../fake/gate.ts';
import { startFakeSentinel } from '../../support/fake-sentinel.ts';
import { startRedis, type TestRedis } from '../../support/redis.ts';
import { startRelay } from '../../support/relay.ts';
import { startSlowServer } from '../../support/slow-server.ts';
import { standStill } from '../../support/standstill.ts';
import { tellNobody, tellTo } from '../../support/told.ts';
import { eventually } from '../../support/wait.ts';

/** Answers each call late, but in time, and not so late on the average that Redis would be left alone. */
async function slowConnection() {
  const redis = await startRedis();
  const failures: string[] = [];
  const connection = new RedisConnection({
    url: redis.url,
    callTimeoutMs: 6000,
    tell: tellTo({ redisFailed: ({ kind }) => void failures.push(kind) }),
  });
  onTestFinished(() => connection.close());
  await eventually(() => connection.state === 'up', 'the connection to Redis');
  let sent = 0;
  const slow = (): Promise<number> => {
    sent += 1;
    return delay(1600, sent);
  };
  return { connection, failures, slow, sent: () => sent };
}

/** To a Redis by a name of its own, which may lead to another one later. */
async function connectionByRelay({ port }: TestRedis) {
  const relay = await startRelay(`127.0.0.1:${port}`);
  const connection = new RedisConnection({
    url: `redis://${relay.host}`,
    callTimeoutMs: 4000,
    tell: tellNobody,
  });
  onTestFinished(() => connection.close());
  // A machine that is busy may need more than one attempt for each.
  await eventually(() => connection.state === 'up' && relay.connections >= 2, 'the connections to Redis');
  return { connection, relay };
}

describe('Redis, while this process stands still,', () => {
  it('is not taken for slow: what it has answered meanwhile counts', async () => {
    const redis = await startRedis();
    await redis.client.set('key', 'value');
    const failures: string[] = [];
    const connection = new RedisConnection({
      url: redis.url,
      tell: tellTo({ redisFailed: ({ kind }) => void failures.push(kind) }),
    });
    onTestFinished(() => connection.close());
    await eventually(() => connection.state === 'up', 'the connection to Redis');
    const answers: unknown[] = [];
    for (let turn = 0; turn < 10; turn++) {
      const answer = connection.duringRequest(() => connection.ask((client) => client.get('key')));
      await new Promise((resolve) => setImmediate(resolve));
      standStill(200);
      answers.push(await answer);
    }
    expect(answers).toEqual(Array.from({ length: 10 }, () => 'value'));
    expect(failures).toEqual([]);
    expect(connection.state).toBe('up');
  });
});

describe('Redis, when each call takes its time,', () => {
  it('is waited for by one request no longer than by one call', async () => {
    const { connection, failures, slow, sent } = await slowConnection();
    const answers = await connection.duringRequest(async () => {
      const all: (number | undefined)[] = [];
      while (all.length < 40) all.push(await connection.ask(slow));
      return all;
    });
    // Four take as long as one call may, or a few more where this process stood still: the last that was sent was given
    // up, and the rest were not sent.
    expect(sent()).toBeLessThan(30);
    expect(answers.slice(sent() - 1).every((answer) => answer === undefined)).toBe(true);
    expect(answers[0]).toBe(1);
    expect(failures).toContain('slow');
    expect(connection.state).toBe('up');
  });

  it('is asked all the same by what goes on behind the answer, and by the next request', async () => {
    const { connection, slow } = await slowConnection();
    let behind: Promise<number | undefined> = Promise.resolve(undefined);
    let goOn: () => void = () => undefined;
    const over = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    await connection.duringRequest(async () => {
      for (let i = 0; i < 8; i++) await connection.ask(slow);
      behind = over.then(() => connection.ask(slow));
      // What nobody waits for is sent however much the request has waited.
      expect(await connection.try(slow)).toBeDefined();
    });
    goOn();
    expect(await behind).toBeDefined();
    expect(await connection.duringRequest(() => connection.ask(slow))).toBeDefined();
  });
});

describe('Redis behind sentinels', () => {
  it('is used again after a failover that is announced just while it is asked who the master is', async () => {
    const redis = await startRedis();
    const sentinel = await startFakeSentinel(redis.port);
    const connection = new RedisConnection({ url: sentinel.url, tell: tellNobody });
    onTestFinished(() => connection.close());
    await eventually(() => connection.state === 'up', 'the connection to Redis');
    await eventually(() => sentinel.listeners === 2, 'both clients to listen for a new master');

    const askedBefore = sentinel.asked;
    const gate = new Gate('the answer of the sentinel');
    sentinel.hold(gate);
    await redis.client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    await eventually(() => sentinel.asked >= askedBefore + 2, 'both clients to ask who the master is');
    sentinel.announce();
    await eventually(() => sentinel.listeners === 0, 'both to have heard');
    gate.release();
    await eventually(() => connection.state === 'up', 'Redis to be used again');
    await eventually(() => sentinel.listeners === 2, 'both to listen again');
  });
});

describe('A name behind which Redis fails over without a word', () => {
  it('leads to the new master once the old one takes no more writes', { timeout: 120_000 }, async () => {
    const [old, next] = [await startRedis(), await startRedis()];
    const { connection, relay } = await connectionByRelay(old);
    const before = relay.connections;
    const write = () => connection.try((client) => client.set('key', 'value'));
    expect(await write()).toBe('OK');

    await old.client.call('REPLICAOF', '127.0.0.1', String(next.port));
    // The name is changed some time later.
    await eventually(
      async () => (await write()) === undefined && relay.connections >= before + 2,
      'a look for it',
    );
    relay.moveTo(`127.0.0.1:${next.port}`);
    await eventually(async () => (await write()) === 'OK', 'a write to the new master');
    expect(await next.client.get('key')).toBe('value');
  });

  it('that leads to a replica from the start is read from on the connection that there is', async () => {
    const [replica, master] = [await startRedis(), await startRedis()];
    await replica.client.call('REPLICAOF', '127.0.0.1', String(master.port));
    const { connection, relay } = await connectionByRelay(replica);
    const before = relay.connections;
    for (let i = 0; i < 5; i++) {
      expect(await connection.try((client) => client.set('key', 'value'))).toBeUndefined();
      expect(await connection.try((client) => client.get('key'))).toBeNull();
    }
    expect(relay.connections).toBe(before);
  });
});

/** Lets every name lead to these addresses. */
function nameOf(...addresses: readonly string[]): void {
  const found = addresses.map((address) => ({ address, family: 4 }));
  const lookup = (_host: string, _options: unknown, done: (error: null, found: unknown) => void): void =>
    done(null, found);
  const spy = vi.spyOn(dns, 'lookup').mockImplementation(lookup as typeof dns.lookup);
  onTestFinished(() => spy.mockRestore());
}

describe('a name of Redis with several addresses', () => {
  it.each([
    ['the first', ['127.0.0.1', '127.0.0.9']],
    ['the last', ['127.0.0.9', '127.0.0.1']],
  ])('is waited for at %s for longer than Node waits by itself', async (_which, addresses) => {
    const server = await startSlowServer();
    nameOf(...addresses);
    const url = `redis://slow.test:${server.port}`;
    const { commands, subscriber } = createRedisClients({ url, connectTimeoutMs: 60_000 });
    onTestFinished(() => [commands, subscriber].forEach((client) => client.disconnect()));
    // What answers is no Redis, which does not count here.
    for (const client of [commands, subscriber]) client.on('error', () => undefined);
    // Rejects if an error comes first.
    const connected = once(commands as Redis, 'connect');
    await server.tried();
    server.wake();
    await connected;
  });
});
