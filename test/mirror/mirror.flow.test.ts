import { createHook } from 'node:async_hooks';
import { connect } from 'node:net';
import type * as lmdb from 'lmdb';
import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { generatedContent } from '../fake/content.ts';
import type { FakeHub } from '../fake/hub.ts';
import { image } from '../fixtures/images.ts';
import { opaqueLayer } from '../fixtures/tar.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { filledHub } from '../support/filled-hub.ts';
import { fetchRaw, type RawResponse } from '../support/http.ts';
import { IndexReads } from '../support/index-reads.ts';
import { metric } from '../support/metrics.ts';
import { startPierhead } from '../support/pierhead.ts';
import { copiedWhile } from '../support/process-io.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { eventually, withDeadline } from '../support/wait.ts';

const MIB = 1024 * 1024;
/** For heads, log lines, wake-ups and what the runtime says to itself. */
const BESIDES = 256 * 1024;
const big = generatedContent({ size: 8 * MIB, seed: 31 });
const pulled = image({ message: 'warm', layers: [opaqueLayer(big)] });
const BLOBS = [pulled.config, ...pulled.layers].map(({ digest }) => `/v2/library/warm/blobs/${digest}`);
const BIG = `/v2/library/warm/blobs/${big.digest}`;
const MANIFESTS = ['latest', pulled.root.digest].map(
  (reference) => `/v2/library/warm/manifests/${reference}`,
);
const HIT = 'pierhead; hit';
const MANY = 100;
/** Of the steps from a request to its answer; one that waits for each store makes more than fifty. */
const PROMISES_EACH = 10;

const environments: lmdb.RootDatabase[] = [];
// The real one: it only tells which environments were opened, so that what is read from them can be counted.
vi.mock('lmdb', async (importActual) => {
  const actual = await importActual<typeof lmdb>();
  const open = (options: lmdb.RootDatabaseOptionsWithPath): lmdb.RootDatabase => {
    const root = actual.open(options);
    environments.push(root);
    return root;
  };
  return { ...actual, open };
});

beforeEach(() => {
  environments.length = 0;
});

async function hubWithWarm(): Promise<FakeHub> {
  const hub = await filledHub();
  hub.add({ repository: 'library/warm', tags: ['latest'], image: pulled });
  return hub;
}

/** As Docker Engines do it: the tag by HEAD, then by GET, its manifest, and the blobs at once. */
async function pull({ url }: Pick<TestApp, 'url'>): Promise<readonly RawResponse[]> {
  const [tag = ''] = MANIFESTS;
  const answers = [await fetchRaw(`${url}${tag}`, { method: 'HEAD' })];
  for (const target of MANIFESTS) answers.push(await fetchRaw(`${url}${target}`));
  answers.push(...(await Promise.all(BLOBS.map((target) => fetchRaw(`${url}${target}`)))));
  expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
  return answers;
}

/** Pulls what was never pulled, and waits until all of it is stored. */
async function pullCold(app: Pick<TestApp, 'url' | 'adminUrl'>): Promise<void> {
  await pull(app);
  await eventually(
    async () => (await metric(app, 'pierhead_fills_total', 'result="stored"')) === BLOBS.length,
    'all blobs to be stored',
  );
}

/** Sends so many requests at once and reads all answers, for which it makes a single promise. */
function ask({ url }: Pick<TestApp, 'url'>, target: string, count: number): Promise<void> {
  const { hostname, port } = new URL(url);
  const request = `GET ${target} HTTP/1.1\r\nHost: ${hostname}\r\n`;
  const socket = connect(Number(port), hostname);
  onTestFinished(() => void socket.destroy());
  socket.write(`${`${request}\r\n`.repeat(count - 1)}${request}Connection: close\r\n\r\n`);
  const answered = new Promise<void>((resolve, reject) => {
    let received = '';
    socket.setEncoding('latin1');
    socket.on('data', (text: string) => (received += text));
    socket.once('error', reject);
    socket.once('end', () => {
      const hits = received.split(`Cache-Status: ${HIT}\r\n`).length - 1;
      if (hits === count) resolve();
      else reject(new Error(`${hits} hits in ${count} answers`));
    });
  });
  return withDeadline(answered, `${count} answers`);
}

/** Calls by command, without the heartbeat and this very question. */
async function redisCalls({ client }: TestRedis): Promise<Record<string, number>> {
  const stats = (await client.info('commandstats')).matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm);
  const calls = [...stats].map(([, name = '', count]): [string, number] => [name, Number(count)]);
  return Object.fromEntries(calls.filter(([name]) => name !== 'ping' && name !== 'info'));
}

describe('A pull of what was pulled before', () => {
  it('asks upstream for nothing, receives nothing and says nothing to Redis', async () => {
    const [hub, redis] = [await hubWithWarm(), await startRedis()];
    const app = await startTestApp({ hub, flags: { tagTtl: '1h' }, env: { PIERHEAD_REDIS_URL: redis.url } });
    await pullCold(app);
    const told = await redisCalls(redis);
    expect(told).toMatchObject({ set: expect.any(Number) as number });
    const requests = hub.requests.length;
    const received = await metric(app, 'pierhead_upstream_body_bytes_total');
    for (let times = 0; times < 5; times++) {
      for (const answer of await pull(app)) expect(answer.header('cache-status')).toBe(HIT);
    }
    expect(hub.requests).toHaveLength(requests);
    expect(await metric(app, 'pierhead_upstream_body_bytes_total')).toBe(received);
    expect(await redisCalls(redis)).toEqual(told);
  });

  it('reads the index once for each blob, and never for a manifest', async () => {
    const app = await startTestApp({ hub: await hubWithWarm(), flags: { tagTtl: '1h' } });
    await pullCold(app);
    const [root] = environments;
    if (root === undefined) throw new Error('no index was opened');
    const reads = new IndexReads(root);
    for (const [targets, each] of [
      [MANIFESTS, 0],
      [BLOBS, 1],
    ] as const) {
      for (const target of [...targets, ...targets]) {
        expect((await app.get(target)).header('cache-status')).toBe(HIT);
        expect(reads.take(), target).toBe(each);
      }
    }
  });

  it('opens the file of a blob once for all who read it at a time', async () => {
    const app = await startTestApp({ hub: await hubWithWarm(), flags: { tagTtl: '1h' } });
    await pullCold(app);
    let opened = 0;
    const hook = createHook({ init: (_id, type) => (opened += type === 'FILEHANDLE' ? 1 : 0) }).enable();
    onTestFinished(() => void hook.disable());
    const slow = app.begin(BIG);
    slow.socket.pause();
    onTestFinished(() => slow.destroy());
    await eventually(() => opened === 1, 'the slow reader to have the file');
    const answers = await Promise.all(Array.from({ length: 20 }, () => app.get(BIG)));
    expect(answers.every(({ complete, bodyBytes }) => complete && bodyBytes === big.size)).toBe(true);
    expect(opened).toBe(1);
  });

  it('copies each byte out of the file once and into the socket once', async () => {
    const hub = await hubWithWarm();
    const app = await startPierhead({ upstreamUrl: hub.url, settings: { TAG_TTL: '1h' } });
    onTestFinished(() => app.close());
    await pullCold(app);
    const times = 4;
    const { readBytes, writtenBytes } = await copiedWhile(app.pid, async () => {
      for (let time = 0; time < times; time++) await fetchRaw(`${app.url}${BIG}`);
    });
    for (const copied of [readBytes, writtenBytes]) {
      expect(copied).toBeGreaterThanOrEqual(times * big.size);
      expect(copied).toBeLessThan(times * big.size + BESIDES);
    }
  });
});

describe('Many manifests that are in memory', () => {
  it.each(MANIFESTS)('are answered without waiting for each store: %s', async (target) => {
    const app = await startTestApp({ hub: await hubWithWarm(), flags: { tagTtl: '1h' } });
    await pullCold(app);
    let promises = 0;
    const hook = createHook({ init: (_id, type) => (promises += type === 'PROMISE' ? 1 : 0) });
    onTestFinished(() => void hook.disable());
    const answered = ask(app, target, MANY);
    hook.enable();
    await answered;
    hook.disable();
    expect(promises / MANY).toBeLessThan(PROMISES_EACH);
  });

  it.each(MANIFESTS)(
    'are one write each, and those of their lines in the log are fewer: %s',
    async (target) => {
      const hub = await hubWithWarm();
      const app = await startPierhead({ upstreamUrl: hub.url, settings: { TAG_TTL: '1h' } });
      onTestFinished(() => app.close());
      await pullCold(app);
      const { writes } = await copiedWhile(app.pid, async () => {
        const before = app.log.length;
        await ask(app, target, MANY);
        await eventually(() => app.log.length >= before + MANY, 'all lines in the log');
      });
      expect(writes).toBeGreaterThanOrEqual(MANY);
      expect(writes).toBeLessThan(2 * MANY);
    },
  );
});

describe('A pull of what was never pulled', () => {
  it('copies each byte in from upstream, to the disk, through the hash and out, and no more often', async () => {
    const hub = await hubWithWarm();
    const app = await startPierhead({ upstreamUrl: hub.url, settings: { TAG_TTL: '1h' } });
    onTestFinished(() => app.close());
    for (const target of MANIFESTS) await fetchRaw(`${app.url}${target}`);
    const { readBytes, writtenBytes } = await copiedWhile(app.pid, async () => {
      const answer = await fetchRaw(`${app.url}${BIG}`);
      expect(answer.bodyBytes).toBe(big.size);
      await eventually(
        async () => (await metric(app, 'pierhead_fills_total', 'result="stored"')) > 0,
        'the blob to be stored',
      );
    });
    expect(hub.bytesSent(big.digest)).toBe(big.size);
    // From upstream, for the client, for the hash; to the disk and to the client.
    expect(readBytes).toBeLessThan(3 * big.size + 4 * BESIDES);
    expect(writtenBytes).toBeLessThan(2 * big.size + 4 * BESIDES);
  });
});
