import { describe, expect, it } from 'vitest';
import type { Digest } from '../../../src/oci/digest.ts';
import { DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST } from '../../../src/oci/media-types.ts';
import type { FakeHub } from '../../fake/hub.ts';
import { multiPlatform, LINUX_AMD64 } from '../../fixtures/images.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { exportFrom, importInto } from '../../support/bundles.ts';
import { runCommand } from '../../support/command.ts';
import { filledHub, GOLANG, served } from '../../support/filled-hub.ts';
import { blobsNamedBy, digestsOf } from '../../support/image-digests.ts';
import { storedAt } from '../../support/pulls.ts';

const ACCEPT = `${OCI_INDEX}, ${DOCKER_LIST}, ${OCI_MANIFEST}, ${DOCKER_MANIFEST}`;
const DOCKER = {
  headers: [
    ['Accept', ACCEPT],
    ['User-Agent', 'docker/28.5.2 go/go1.24 os/linux arch/amd64'],
  ],
} as const;

const at = (reference: string) => `/v2/library/golang/${reference}`;
const child = GOLANG.image.images.get('linux/amd64');
const blobs = digestsOf(GOLANG.image, 'linux/amd64').blobs;
const [attestation] = GOLANG.image.attestations;
const statements = blobsNamedBy(attestation?.bytes);

/** What Docker is told, one after the other, when it asks for these. */
async function statusesOf(app: TestApp, targets: readonly string[]): Promise<number[]> {
  const statuses: number[] = [];
  for (const target of targets) statuses.push((await app.get(at(target), DOCKER)).status);
  return statuses;
}

/** All that a client asks for that knows nothing of attestations; resolves when it is stored. */
function pullAsClassic(app: TestApp): Promise<number[]> {
  const targets = [
    `manifests/latest`,
    `manifests/${child?.root.digest}`,
    ...blobs.map((blob) => `blobs/${blob}`),
  ];
  return statusesOf(app, targets);
}

/** What Docker 29 asks for besides. */
function pullAttestation(app: TestApp): Promise<number[]> {
  const { digest } = attestation ?? {};
  const targets = [
    `manifests/${digest}`,
    ...statements.map((blob) => `blobs/${blob}`),
    `referrers/${digest}`,
  ];
  return statusesOf(app, targets);
}

const allOf = (statuses: readonly number[]): boolean => statuses.every((status) => status === 200);

async function stored(app: TestApp, digests: readonly Digest[]): Promise<void> {
  for (const digest of digests) await storedAt(app, at(`blobs/${digest}`));
}

const command = (app: TestApp, hub: FakeHub, ...args: readonly string[]) =>
  runCommand(args, { dataDir: app.dataDir, upstreamUrl: hub.url });

async function cutOff(app: TestApp, hub: FakeHub): Promise<TestApp> {
  await app.stop();
  await hub.stop();
  return startTestApp({ hub, dataDir: app.dataDir, flags: { offline: true } });
}

/** Upstream without what the attestation states, as it was pruned or never pushed. */
async function withoutStatements(): Promise<{ readonly hub: FakeHub; readonly app: TestApp }> {
  const hub = await filledHub();
  for (const digest of statements) hub.removeContent('library/golang', digest);
  const app = await startTestApp({ hub });
  expect(allOf(await pullAsClassic(app))).toBe(true);
  await stored(app, blobs);
  for (const digest of statements) {
    await hub.waitFor(
      ({ reference, closed }) => reference === digest && closed,
      'the attestation to be asked for',
    );
  }
  return { hub, app };
}

describe('an image that a client pulled which knows nothing of attestations', () => {
  it('has in an outage all that Docker 29 asks for, and is called complete', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    expect(allOf(await pullAsClassic(app))).toBe(true);
    await stored(app, [...blobs, ...statements]);
    expect((await command(app, hub, 'check', 'golang')).status).toBe(0);
    const later = await cutOff(app, hub);
    expect(allOf(await pullAsClassic(later))).toBe(true);
    expect(allOf(await pullAttestation(later))).toBe(true);
  });

  it('takes that along in a bundle', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    await pullAsClassic(app);
    await stored(app, [...blobs, ...statements]);
    const { bytes, plan } = await exportFrom(app.dataDir, ['golang']);
    expect(plan.lacking).toEqual([]);
    const site = await startTestApp({ hub: 'http://127.0.0.1:9', flags: { offline: true } });
    await importInto(site.dataDir, bytes);
    expect(allOf(await pullAsClassic(site))).toBe(true);
    expect(allOf(await pullAttestation(site))).toBe(true);
    expect((await command(site, hub, 'check', 'golang')).status).toBe(0);
  });

  it('gets at its next pull what its attestation lacks, for no counted pull', async () => {
    const { hub, app } = await withoutStatements();
    await app.stop();
    hub.add(GOLANG);
    hub.reset();
    const next = await startTestApp({ hub, dataDir: app.dataDir, flags: { tagTtl: '1h' } });
    expect(allOf(await pullAsClassic(next))).toBe(true);
    await stored(next, statements);
    expect(served(hub, { kind: 'manifest', method: 'GET' })).toBe(0);
  });
});

describe('an image whose attestation upstream lacks', () => {
  it('is served to every other client in an outage', async () => {
    const { hub, app } = await withoutStatements();
    const later = await cutOff(app, hub);
    expect(allOf(await pullAsClassic(later))).toBe(true);
    expect(allOf(await pullAttestation(later))).toBe(false);
  });

  it('is partial, and every command says that only Docker 29 needs the rest', async () => {
    const { hub, app } = await withoutStatements();
    const check = await command(app, hub, 'check', 'golang');
    expect(check.status).toBe(1);
    expect(check.stdout.toString()).toMatch(
      /partial: 2 of \d blobs \(.*\) missing; of the attestation, which only Docker 29 needs/,
    );
    const warm = await command(app, hub, 'warm', 'golang');
    expect(warm.status).toBe(1);
    expect(warm.stdout.toString()).toContain(' (attestation): ');
    const { plan } = await exportFrom(app.dataDir, ['golang']);
    expect(plan.lacking[0]?.lacks[0]).toMatch(
      /^linux\/amd64: the attestation is partial, and Docker 29 needs it: sha256:.* not cached$/,
    );
    expect(plan.images).toMatchObject([{ image: 'golang:latest', platforms: ['linux/amd64'] }]);
  });

  it('is in a bundle without it if that is ordered', async () => {
    const { app } = await withoutStatements();
    const { bytes } = await exportFrom(app.dataDir, ['golang']);
    const site = await startTestApp({ hub: 'http://127.0.0.1:9', flags: { offline: true } });
    await importInto(site.dataDir, bytes);
    expect(allOf(await pullAsClassic(site))).toBe(true);
  });
});

describe('a config that the attestations of many images share', () => {
  it('is fetched once, and stays as long as one of them', async () => {
    const hub = await filledHub();
    const shared = multiPlatform({ platforms: [LINUX_AMD64] });
    hub.add({ repository: 'library/one', tags: ['latest'], image: shared });
    hub.add({ repository: 'library/two', tags: ['latest'], image: shared });
    const app = await startTestApp({ hub });
    const digests = blobsNamedBy(shared.attestations[0]?.bytes);
    for (const name of ['one', 'two']) {
      await app.get(`/v2/library/${name}/manifests/latest`, DOCKER);
      await app.get(`/v2/library/${name}/manifests/${shared.images.get('linux/amd64')?.root.digest}`, DOCKER);
      for (const digest of digests) await storedAt(app, `/v2/library/${name}/blobs/${digest}`);
    }
    for (const digest of digests)
      expect(served(hub, { host: 'blobs', method: 'GET', reference: digest })).toBe(1);
    expect((await command(app, hub, 'rm', 'one')).status).toBe(0);
    for (const digest of digests) {
      expect((await app.get(`/v2/library/two/blobs/${digest}`)).header('cache-status')).toBe('pierhead; hit');
    }
  });
});
