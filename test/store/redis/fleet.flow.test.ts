import { describe, expect, it } from 'vitest';
import type { FakeHub } from '../../fake/hub.ts';
import { multiPlatform } from '../../fixtures/images.ts';
import { refresh } from '../../support/admin.ts';
import { filledHub, GOLANG, PLAIN, served } from '../../support/filled-hub.ts';
import { startFleet } from '../../support/fleet.ts';
import { fetchRaw, type RawResponse } from '../../support/http.ts';
import { metric } from '../../support/metrics.ts';
import type { Pierhead } from '../../support/pierhead.ts';
import { startRedis } from '../../support/redis.ts';
import { eventually } from '../../support/wait.ts';

const LATEST = '/v2/library/golang/manifests/latest';
const { root } = GOLANG.image;
const renewed = multiPlatform({ message: 'renewed' });
const GET = { kind: 'manifest', method: 'GET' } as const;
const HEAD = { kind: 'manifest', method: 'HEAD' } as const;

const pull = (server: Pierhead, target = LATEST, method = 'GET'): Promise<RawResponse> =>
  fetchRaw(`${server.url}${target}`, { method });
const digestOf = (answer: RawResponse): string | undefined => answer.header('docker-content-digest');
const ends = (server: Pierhead, end: string): Promise<number> =>
  metric(server, 'pierhead_fleet_work_total', `end="${end}"`);

/** Resolves when so many pulls, all in all, wait for another server. */
const waiting = (servers: readonly Pierhead[], count: number): Promise<unknown> =>
  eventually(async () => {
    const each = await Promise.all(servers.map((server) => metric(server, 'pierhead_fleet_waiting')));
    return each.reduce((sum, one) => sum + one, 0) >= count;
  }, `${count} to wait for another server`);

async function hubWithRenewed(): Promise<FakeHub> {
  const hub = await filledHub();
  hub.add({ repository: 'library/golang', image: renewed });
  return hub;
}

describe('Three servers on one Redis', () => {
  it('pay upstream for one: a tag, its list, the image of a platform', async () => {
    const [hub, redis] = [await filledHub(), await startRedis()];
    const [first, ...others] = await startFleet({ hub, redisUrl: redis.url, size: 3 });
    if (first === undefined) throw new Error('no server');
    const child = GOLANG.image.manifests.find(({ digest }) => digest !== root.digest)?.digest ?? '';
    const targets = [
      LATEST,
      `/v2/library/golang/manifests/${root.digest}`,
      `/v2/library/golang/manifests/${child}`,
    ];
    for (const target of targets) expect((await pull(first, target)).status).toBe(200);
    // It goes with the manifest that it speaks of, whoever asked for that.
    const [attestation] = GOLANG.image.attestations;
    await hub.waitFor(
      ({ reference, closed }) => reference === attestation?.digest && closed,
      'the attestation',
    );
    await eventually(async () => (await redis.client.dbsize()) >= 4, 'it all to be in Redis');
    // Blobs are each server's own, those of the attestation too.
    const asked = hub.count({ kind: 'manifest' });
    for (const other of others) {
      for (const target of targets) {
        for (const method of ['HEAD', 'GET']) {
          const answer = await pull(other, target, method);
          expect(answer.status).toBe(200);
          expect(answer.header('cache-status')).toBe('pierhead; hit');
        }
      }
    }
    expect(hub.count({ kind: 'manifest' })).toBe(asked);
  });

  it('ask upstream once for what all are asked for at once, by GET and by HEAD', async () => {
    const [hub, redis] = [await filledHub(), await startRedis()];
    const servers = await startFleet({ hub, redisUrl: redis.url, size: 3 });
    for (const method of ['HEAD', 'GET'] as const) {
      const target = method === 'HEAD' ? '/v2/library/plain/manifests/latest' : LATEST;
      const held = hub.fault({ match: { kind: 'manifest', method }, do: { holdHeaders: true } });
      const asked = servers.flatMap((server) => [pull(server, target, method), pull(server, target, method)]);
      await held.reached;
      await waiting(servers, 2);
      held.release();
      for (const answer of await Promise.all(asked)) expect(answer.status).toBe(200);
      held.remove();
      expect(served(hub, { kind: 'manifest', method })).toBe(1);
    }
  });

  it('check a stale tag once, and all go by what one has found', async () => {
    const [hub, redis] = [await hubWithRenewed(), await startRedis()];
    const servers = await startFleet({ hub, redisUrl: redis.url, size: 3, settings: { TAG_TTL: '0s' } });
    for (const server of servers) await pull(server);
    hub.moveTag('library/golang', 'latest', renewed.root.digest);
    const [gets, heads] = [served(hub, GET), served(hub, HEAD)];
    const held = hub.fault({ match: HEAD, do: { holdHeaders: true } });
    const asked = servers.map((server) => pull(server));
    await held.reached;
    await waiting(servers, 2);
    held.release();
    for (const answer of await Promise.all(asked)) {
      expect(answer.status).toBe(200);
      expect(digestOf(answer)).toBe(renewed.root.digest);
      expect(answer.header('warning')).toBeUndefined();
    }
    expect(served(hub, HEAD) - heads).toBe(1);
    expect(served(hub, GET) - gets).toBe(1);
  });

  it('hear at once that a tag has moved, and need not ask for what it names', async () => {
    const [hub, redis] = [await hubWithRenewed(), await startRedis()];
    const servers = await startFleet({ hub, redisUrl: redis.url, size: 3, settings: { TAG_TTL: '1h' } });
    for (const server of servers) expect(digestOf(await pull(server))).toBe(root.digest);
    hub.moveTag('library/golang', 'latest', renewed.root.digest);
    const [first, ...others] = servers;
    if (first === undefined) throw new Error('no server');
    expect((await refresh(first, 'golang')).json).toMatchObject({ result: 'moved', to: renewed.root.digest });
    const asked = hub.requests.length;
    for (const other of others) {
      await eventually(
        async () => digestOf(await pull(other)) === renewed.root.digest,
        'the move at another server',
      );
      const image = await pull(other, `/v2/library/golang/manifests/${renewed.root.digest}`);
      expect(image.body).toEqual(renewed.root.bytes);
      // What the tag named before goes on by its digest.
      expect((await pull(other, `/v2/library/golang/manifests/${root.digest}`)).status).toBe(200);
    }
    expect(hub.requests).toHaveLength(asked);
  });
});

describe('A server that is killed while it asks', () => {
  it('is followed by another one when its lease has run out', async () => {
    const [hub, redis] = [await filledHub(), await startRedis()];
    const [first, second] = await startFleet({ hub, redisUrl: redis.url, size: 2 });
    if (first === undefined || second === undefined) throw new Error('no servers');
    const held = hub.fault({ match: GET, times: 1, do: { holdHeaders: true } });
    const lost = pull(first).catch((error: unknown) => error);
    await held.reached;
    const asked = pull(second);
    await waiting([second], 1);
    await first.kill();
    await lost;
    const answer = await asked;
    expect(answer.status).toBe(200);
    expect(answer.body).toEqual(root.bytes);
    expect(served(hub, GET)).toBe(held.hits + 1);
    expect(await ends(second, 'takeover')).toBe(1);
    held.release();
  });
});

describe('A fleet', () => {
  it('whose Redis freezes while servers wait for each other asks upstream by each of them', async () => {
    const [hub, redis] = [await filledHub(), await startRedis()];
    const servers = await startFleet({
      hub,
      redisUrl: redis.url,
      size: 2,
      settings: { REDIS_TIMEOUT: '2s' },
    });
    const held = hub.fault({ match: GET, do: { holdHeaders: true } });
    const asked = servers.map((server) => pull(server));
    await held.reached;
    await waiting(servers, 1);
    redis.pause();
    await eventually(() => held.hits === 2, 'the other server to ask for itself');
    held.release();
    for (const answer of await Promise.all(asked)) expect(answer.status).toBe(200);
    redis.resume();
  });

  it('tells those who waited that there is no such tag', async () => {
    const [hub, redis] = [await filledHub(), await startRedis()];
    const servers = await startFleet({ hub, redisUrl: redis.url, size: 3 });
    const target = '/v2/library/golang/manifests/none';
    const held = hub.fault({ match: GET, do: { holdHeaders: true } });
    const asked = servers.map((server) => pull(server, target));
    await held.reached;
    await waiting(servers, 2);
    held.release();
    for (const answer of await Promise.all(asked)) expect(answer.status).toBe(404);
    expect(served(hub, { ...GET, reference: 'none' })).toBe(1);
  });

  it('asks once more if a request of one of its servers got lost', { timeout: 60_000 }, async () => {
    const [hub, redis] = [await filledHub(), await startRedis()];
    const settings = { HEADERS_TIMEOUT: '2900ms' };
    const servers = await startFleet({ hub, redisUrl: redis.url, size: 3, settings });
    const lost = hub.fault({ match: GET, times: 1, do: { hang: true } });
    const asked = servers.map((server) => pull(server));
    await waiting(servers, 2);
    const statuses = (await Promise.all(asked)).map(({ status }) => String(status));
    expect(statuses.toSorted()).toEqual(['200', '200', '503']);
    expect(lost.hits).toBe(1);
    expect(served(hub, GET)).toBe(2);
  });

  it('does not pass on that one of its servers cannot reach upstream', async () => {
    const [hub, redis] = [await filledHub(), await startRedis()];
    const settings = { TAG_TTL: '0s' };
    const [good] = await startFleet({ hub, redisUrl: redis.url, size: 1, settings });
    const gone = await filledHub();
    const [cut] = await startFleet({ hub: gone, redisUrl: redis.url, size: 1, settings });
    if (good === undefined || cut === undefined) throw new Error('no servers');
    await pull(good);
    await pull(cut);
    await gone.stop();
    expect((await pull(cut)).header('warning')).toBeDefined();
    expect((await pull(good)).header('warning')).toBeUndefined();
  });

  it('does not take the pulls of one of its servers for those of somebody who goes around it', async () => {
    const [hub, redis] = [await hubWithRenewed(), await startRedis()];
    hub.setPulls({ limit: 100, remaining: 60, windowSeconds: 21_600 });
    const names = Array.from({ length: 6 }, (_, index) => `library/part-${index}`);
    for (const repository of names) hub.add({ ...PLAIN, repository });
    const servers = await startFleet({ hub, redisUrl: redis.url, size: 2 });
    const left = (server: Pierhead): Promise<number> => metric(server, 'pierhead_pull_budget_remaining');
    for (const [index, name] of names.entries()) {
      const server = servers[index % 2];
      if (server === undefined) throw new Error('no server');
      expect((await pull(server, `/v2/${name}/manifests/latest`)).status).toBe(200);
      const { pullsRemaining } = hub;
      // Once the other one has asked anything, it shows that too without asking.
      for (const each of index === 0 ? [server] : servers) {
        await eventually(async () => (await left(each)) === pullsRemaining, 'the answer to be known');
      }
    }
    for (const server of servers) {
      expect(await metric(server, 'pierhead_pull_budget_foreign_pulls_total')).toBe(0);
    }
  });
});
