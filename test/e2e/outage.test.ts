import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { startFakeHub, type FakeHub } from '../fake/hub.ts';
import { golangFixture, image, plainFixture } from '../fixtures/images.ts';
import { startContainerd } from '../support/containerd.ts';
import { startDockerd } from '../support/dockerd.ts';
import { startPierhead, type LogLine, type Pierhead } from '../support/pierhead.ts';
import { createPodman } from '../support/podman.ts';
import { inReach, outOfReach } from '../support/reach.ts';
import { skopeo } from '../support/skopeo.ts';
import { testFolder } from '../support/temp.ts';
import { eventually } from '../support/wait.ts';

/** Pulls an image of Docker Hub for linux/amd64 with a client that has nothing; resolves to whether that went well. */
type Pull = (mirror: Pierhead, name: string) => Promise<boolean>;

const went = (work: Promise<unknown>): Promise<boolean> =>
  work.then(
    () => true,
    () => false,
  );

/** `tries`: how often a pull that fails is repeated by the client as a whole, with that one. */
const clients: readonly { readonly client: string; readonly tries: number; readonly pull: Pull }[] = [
  {
    client: 'a Docker Engine',
    tries: 1,
    async pull(mirror, name) {
      const dockerd = await startDockerd({ mirror: mirror.host });
      onTestFinished(() => dockerd.close());
      return (await dockerd.attempt('pull', name)).status === 0;
    },
  },
  {
    client: 'containerd',
    tries: 1,
    async pull(mirror, name) {
      const containerd = await startContainerd({ mirror: mirror.host });
      onTestFinished(() => containerd.close());
      return went(containerd.pull(`docker.io/library/${name}:latest`, '--platform', 'linux/amd64'));
    },
  },
  {
    client: 'Podman',
    tries: 4,
    async pull(mirror, name) {
      const podman = await createPodman({ mirror: mirror.host });
      onTestFinished(() => podman.close());
      return went(podman.podman('pull', `docker.io/library/${name}`));
    },
  },
  {
    client: 'skopeo',
    tries: 1,
    async pull(mirror, name) {
      const source = `docker://${mirror.host}/library/${name}:latest`;
      return went(skopeo('copy', '--src-tls-verify=false', source, `dir:${await testFolder()}`));
    },
  },
];

/** All blobs were answered so, and none was asked for as often as a Docker Engine repeats what it hopes to get. */
function expectBlobs(requests: readonly LogLine[], expected: number): void {
  const blobs = requests.filter(({ kind, aborted }) => kind === 'blob' && aborted !== true);
  expect(blobs.length).toBeGreaterThan(0);
  for (const { status, reference } of blobs) {
    expect(status).toBe(expected);
    expect(blobs.filter((other) => other.reference === reference).length).toBeLessThanOrEqual(2);
  }
}

/** Resolves when what was answered before is in the log, whose lines are in order. */
async function allLogged(pierhead: Pierhead): Promise<void> {
  const marker = randomUUID();
  await fetch(`${pierhead.url}/v2/`, { headers: { 'User-Agent': marker } });
  await pierhead.waitForLog(({ userAgent }) => userAgent === marker, 'the line of the last request');
}

const PULLS = { limit: 100, remaining: 100, windowSeconds: 21_600 };

describe.each(clients)('$client', ({ tries, pull }) => {
  let hub: FakeHub;
  let pierhead: Pierhead;

  beforeEach(async () => {
    hub = await startFakeHub({ pulls: PULLS });
    hub.add({ repository: 'library/golang', ...golangFixture() });
    hub.add({ repository: 'library/plain', ...plainFixture() });
    hub.add({ repository: 'library/other', tags: ['latest'], image: image({ message: 'other' }) });
    pierhead = await startPierhead({ upstreamUrl: hub.url, settings: { TAG_TTL: '0s' } });
  });

  afterEach(async () => {
    await pierhead?.close();
    await hub?.close();
    expect(hub.violations).toEqual([]);
    expect(pierhead.log.filter(({ status }) => status === 429)).toEqual([]);
  });

  it('pulls what is cached while Docker Hub is away, and fails at once for the rest', async () => {
    expect(await pull(pierhead, 'golang')).toBe(true);
    expect(await pull(pierhead, 'plain')).toBe(true);
    await hub.stop();
    expect(await pull(pierhead, 'golang')).toBe(true);
    expect(await pull(pierhead, 'plain')).toBe(true);
    await outOfReach(pierhead);
    expect(await pull(pierhead, 'other')).toBe(false);
    const refused = await requestsOf('other');
    expect(new Set(refused.map(({ status }) => status))).toEqual(new Set([503]));
    // By HEAD and by GET, and neither is repeated.
    expect(refused.length).toBeLessThanOrEqual(2 * tries);
    await hub.start();
    await inReach(pierhead);
    expect(await pull(pierhead, 'other')).toBe(true);
  });

  it('pulls what is cached while Docker Hub takes requests and never answers', async () => {
    expect(await pull(pierhead, 'golang')).toBe(true);
    expect(await pull(pierhead, 'plain')).toBe(true);
    hub.fault({ do: { hang: true } });
    expect(await pull(pierhead, 'golang')).toBe(true);
    expect(await pull(pierhead, 'plain')).toBe(true);
    const answered = [...(await requestsOf('golang')), ...(await requestsOf('plain'))];
    expect(answered.filter(({ status }) => Number(status) >= 400)).toEqual([]);
    hub.clearFaults();
  });

  it('is not given a manifest whose blobs cannot be had', async () => {
    await fetch(`${pierhead.url}/v2/library/plain/manifests/latest`);
    await hub.stop();
    await fetch(`${pierhead.url}/v2/library/plain/manifests/latest`);
    await outOfReach(pierhead);
    const before = (await requestsOf('plain')).length;
    expect(await pull(pierhead, 'plain')).toBe(false);
    const after = (await requestsOf('plain')).slice(before);
    expect(after.map(({ kind }) => kind)).not.toContain('blob');
    const gets = after.filter(({ method }) => method === 'GET');
    expect(gets.map(({ status }) => status)).toEqual(Array.from({ length: tries }, () => 503));
  });

  it('does not sit through retries for blobs that turn out not to be had', async () => {
    hub.fault({ match: { host: 'blobs' }, do: { hangUp: 'rst' } });
    expect(await pull(pierhead, 'plain')).toBe(false);
    expectBlobs(await requestsOf('plain'), 404);
  });

  it('pulls what is cached when no pulls are left, and fails at once for the rest', async () => {
    expect(await pull(pierhead, 'golang')).toBe(true);
    hub.setPulls({ ...PULLS, remaining: 0 });
    expect(await pull(pierhead, 'golang')).toBe(true);
    expect(await pull(pierhead, 'other')).toBe(false);
    const refused = (await requestsOf('other')).filter(({ status }) => status !== 200);
    expect(refused.map(({ status }) => status)).toEqual(Array.from({ length: tries }, () => 503));
    expect(hub.requests.filter(({ status }) => status === 429).length).toBeLessThanOrEqual(1);
    hub.setPulls(PULLS);
    await eventually(() => pull(pierhead, 'other'), 'the limit to be over', 60_000);
  });

  async function requestsOf(name: string): Promise<readonly LogLine[]> {
    await allLogged(pierhead);
    return pierhead.log.filter(({ repository }) => repository === `docker.io/library/${name}`);
  }
});

describe('in strict mode a Docker Engine', () => {
  it('is denied a blob that cannot be had, which it does not ask for again', async () => {
    const hub = await startFakeHub();
    onTestFinished(() => hub.close());
    hub.add({ repository: 'library/plain', ...plainFixture() });
    const pierhead = await startPierhead({ upstreamUrl: hub.url, settings: { FAIL_MODE: 'strict' } });
    onTestFinished(() => pierhead.close());
    hub.fault({ match: { host: 'blobs' }, do: { hangUp: 'rst' } });
    const dockerd = await startDockerd({ mirror: pierhead.host });
    onTestFinished(() => dockerd.close());
    expect((await dockerd.attempt('pull', 'plain')).status).not.toBe(0);
    await allLogged(pierhead);
    expectBlobs(pierhead.log, 403);
  });
});
