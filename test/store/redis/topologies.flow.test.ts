import { describe, expect, it } from 'vitest';
import { selfSigned } from '../../support/certificates.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { refresh } from '../../support/admin.ts';
import { multiPlatform } from '../../fixtures/images.ts';
import { filledHub, GOLANG, PLAIN, served } from '../../support/filled-hub.ts';
import { FLEET_SECRET } from '../../support/fleet.ts';
import { fetchRaw } from '../../support/http.ts';
import { metric } from '../../support/metrics.ts';
import { startPierhead } from '../../support/pierhead.ts';
import { redisInUse } from '../../support/reach.ts';
import { startCluster, startRedis, startSentinels } from '../../support/redis.ts';
import { eventually } from '../../support/wait.ts';
import type { FakeHub } from '../../fake/hub.ts';
import { onTestFinished } from 'vitest';
import { freePort } from '../../support/free-port.ts';

const LATEST = '/v2/library/golang/manifests/latest';
const renewed = multiPlatform({ message: 'renewed' });
const PATIENT = { redisTimeout: '2s', tagTtl: '1h' };

async function twoApps(hub: FakeHub, redisUrl: string): Promise<readonly [TestApp, TestApp]> {
  const start = async (): Promise<TestApp> => {
    const env = { PIERHEAD_FLEET_SECRET: FLEET_SECRET };
    const app = await startTestApp({ hub, flags: { redisUrl, ...PATIENT }, env });
    await redisInUse(app);
    return app;
  };
  return [await start(), await start()];
}

/** The second pays upstream nothing for what the first has, and hears of what it learns. */
async function checkSharing(hub: FakeHub, [one, two]: readonly [TestApp, TestApp]): Promise<void> {
  hub.add({ repository: 'library/golang', image: renewed });
  const child =
    GOLANG.image.manifests.find(({ digest }) => digest !== GOLANG.image.root.digest)?.digest ?? '';
  const targets = [LATEST, `/v2/library/golang/manifests/${child}`, '/v2/library/plain/manifests/latest'];
  for (const target of targets) expect((await one.get(target)).status).toBe(200);
  // Blobs are each server's own, those of attestations as well.
  const asked = hub.count({ kind: 'manifest' });
  for (const target of targets) {
    await eventually(async () => {
      const answer = await two.get(target);
      return answer.header('cache-status') === 'pierhead; hit';
    }, 'the other to have it');
  }
  expect(hub.count({ kind: 'manifest' })).toBe(asked);
  hub.moveTag('library/golang', 'latest', renewed.root.digest);
  expect((await refresh(one, 'golang')).json).toMatchObject({ result: 'moved' });
  await eventually(
    async () => (await two.get(LATEST)).header('docker-content-digest') === renewed.root.digest,
    'the move at the other',
  );
  expect(served(hub, { kind: 'manifest', method: 'GET', reference: renewed.root.digest })).toBe(1);
}

describe('Redis behind sentinels', () => {
  it('is shared, and followed to its new master when the old one dies', { timeout: 180_000 }, async () => {
    const [hub, sentinels] = [await filledHub(), await startSentinels()];
    const apps = await twoApps(hub, sentinels.url);
    await checkSharing(hub, apps);
    await sentinels.master.stop();
    // Nobody waits for the election.
    expect((await apps[0].get('/v2/carol/none/manifests/latest')).status).toBe(404);
    await eventually(
      async () => (await sentinels.replica.client.info('replication')).includes('role:master'),
      'the replica to be master',
      60_000,
    );
    for (const app of apps) await redisInUse(app);
    let attempts = 0;
    const isShared = async (): Promise<boolean> => {
      const repository = `library/late-${attempts++}`;
      const target = `/v2/${repository}/manifests/latest`;
      const key = `pierhead:v1:tag:docker.io/${repository}:latest`;
      hub.add({ ...PLAIN, repository });
      expect((await apps[0].get(target)).status).toBe(200);
      const isKept = async (): Promise<boolean> => (await sentinels.replica.client.exists(key)) === 1;
      if (!(await eventually(isKept, key, 1000).catch(() => false))) return false;
      // Blobs are each server's own, those of attestations as well.
      const asked = hub.count({ kind: 'manifest' });
      const answer = await apps[1].get(target);
      return answer.header('cache-status') === 'pierhead; hit' && hub.count({ kind: 'manifest' }) === asked;
    };
    // The other sentinels tell of the failover in their own time, connections end with each, and no call is sent again.
    await eventually(isShared, 'what one learns to reach the other by the new master');
  });
});

describe('A Redis cluster', () => {
  it('is shared, and one of its servers not missed', { timeout: 180_000 }, async () => {
    const [hub, cluster] = [await filledHub(), await startCluster()];
    const apps = await twoApps(hub, cluster.url);
    await checkSharing(hub, apps);
    // The keys are spread: on no server are all of them.
    const sizes = await Promise.all(cluster.nodes.map(({ client }) => client.dbsize()));
    expect(sizes.filter((size) => size > 0).length).toBeGreaterThan(1);
    await cluster.nodes[1]?.stop();
    for (let index = 0; index < 12; index++) {
      const repository = `library/late-${index}`;
      hub.add({ ...PLAIN, repository });
      for (const app of apps) {
        const answer = await app.get(`/v2/${repository}/manifests/latest`);
        expect(answer.status).toBe(200);
        expect(answer.body).toEqual(PLAIN.image.root.bytes);
      }
    }
  });
});

describe('Redis by TLS', () => {
  it('is used if its certificate is trusted, and not missed if not', async () => {
    const hub = await filledHub();
    const { path } = await selfSigned(['localhost']);
    const tlsPort = await freePort();
    const key = path.replace('cert.pem', 'key.pem');
    const tls = ['--tls-port', String(tlsPort), '--tls-cert-file', path, '--tls-key-file', key];
    await startRedis([...tls, '--tls-auth-clients', 'no', '--tls-ca-cert-file', path]);
    const settings = { REDIS_URL: `rediss://localhost:${tlsPort}`, REDIS_TIMEOUT: '2s' };
    const trusting = await startPierhead({
      upstreamUrl: hub.url,
      settings,
      env: { NODE_EXTRA_CA_CERTS: path },
    });
    onTestFinished(() => trusting.close());
    await redisInUse(trusting);
    const wary = await startPierhead({ upstreamUrl: hub.url, settings });
    onTestFinished(() => wary.close());
    await eventually(
      async () => (await metric(wary, 'pierhead_redis_errors_total', 'kind="connection"')) > 0,
      'the certificate to be refused',
    );
    for (const server of [trusting, wary])
      expect((await fetchRaw(`${server.url}${LATEST}`)).status).toBe(200);
    expect(await metric(wary, 'pierhead_redis_up')).toBe(0);
  });
});
