import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { RequestFilter } from '../fake/log.ts';
import { filledHub, GOLANG, PLAIN, served } from '../support/filled-hub.ts';
import { fetchRaw, type RawResponse } from '../support/http.ts';
import { metric } from '../support/metrics.ts';
import { startPierhead, type Pierhead } from '../support/pierhead.ts';
import { redisInUse } from '../support/reach.ts';
import { startRedis } from '../support/redis.ts';
import { startRelay } from '../support/relay.ts';
import { eventually } from '../support/wait.ts';

const LATEST = '/v2/library/golang/manifests/latest';
const GET: RequestFilter = { kind: 'manifest', method: 'GET' };

async function serverOf(upstreamUrl: string, settings: Readonly<Record<string, string>>): Promise<Pierhead> {
  const server = await startPierhead({ upstreamUrl, settings });
  onTestFinished(() => server.close());
  return server;
}

const ask = (server: Pierhead, target: string): Promise<RawResponse> => fetchRaw(`${server.url}${target}`);

/** Stops servers as a paused container does; what `meanwhile` causes lies in their sockets when they wake. */
async function stopped(servers: readonly Pierhead[], ms: number, meanwhile: () => void): Promise<void> {
  for (const { pid } of servers) process.kill(pid, 'SIGSTOP');
  meanwhile();
  await sleep(ms);
  for (const { pid } of servers) process.kill(pid, 'SIGCONT');
}

describe('a server that stands still for longer than upstream may take', () => {
  it.each([
    ['a manifest', LATEST, GET],
    ['a blob', `/v2/library/plain/blobs/${PLAIN.image.config.digest}`, { kind: 'blob', host: 'blobs' }],
  ] as const)(
    'takes the answer that came meanwhile: %s',
    { timeout: 60_000 },
    async (_what, target, match) => {
      const hub = await filledHub();
      const server = await serverOf(hub.url, { HEADERS_TIMEOUT: '3s' });
      const held = hub.fault({ match, do: { holdHeaders: true } });
      const asked = ask(server, target);
      await held.reached;
      await stopped([server], 4000, () => held.release());
      expect((await asked).status).toBe(200);
      expect(served(hub, match)).toBe(1);
      expect(await metric(server, 'pierhead_upstream_requests_total', 'outcome="timeout"')).toBe(0);
    },
  );

  it('does not take upstream for silent, and revalidates a tag', { timeout: 60_000 }, async () => {
    const hub = await filledHub();
    const server = await serverOf(hub.url, { TAG_TTL: '0s' });
    await ask(server, LATEST);
    const held = hub.fault({ match: { kind: 'manifest', method: 'HEAD' }, do: { holdHeaders: true } });
    const asked = ask(server, LATEST);
    await held.reached;
    await stopped([server], 3000, () => held.release());
    const answer = await asked;
    expect(answer.header('cache-status')).toBe('pierhead; fwd=stale; fwd-status=200');
    expect(answer.header('warning')).toBeUndefined();
    expect(await metric(server, 'pierhead_upstream_state', 'state="up"')).toBe(1);
  });
});

describe('servers of a fleet that stand still while Redis answers them', () => {
  it('pay upstream for one', { timeout: 120_000 }, async () => {
    const [hub, redis] = [await filledHub(), await startRedis()];
    const fleet = await Promise.all(
      [1, 2, 3].map(async () => {
        const relay = await startRelay(`127.0.0.1:${redis.port}`);
        const settings = { REDIS_URL: `redis://${relay.host}`, REDIS_TIMEOUT: '3s' };
        const server = await serverOf(hub.url, settings);
        await redisInUse(server);
        return { relay, server };
      }),
    );
    const servers = fleet.map(({ server }) => server);
    redis.pause();
    const asked = servers.map((server) => ask(server, LATEST));
    await eventually(
      () => fleet.every(({ relay }) => relay.sent.includes('library/golang')),
      'all to ask Redis',
    );
    await stopped(servers, 4000, () => redis.resume());
    for (const answer of await Promise.all(asked)) expect(answer.body).toEqual(GOLANG.image.root.bytes);
    expect(served(hub, GET)).toBe(1);
    for (const server of servers) {
      expect(await metric(server, 'pierhead_redis_errors_total', 'kind="timeout"')).toBe(0);
    }
  });
});
