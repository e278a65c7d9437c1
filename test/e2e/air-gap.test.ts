import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import type { Digest } from '../../src/oci/digest.ts';
import { startFakeHub, type FakeHub } from '../fake/hub.ts';
import {
  LINUX_AMD64,
  LINUX_ARM64,
  multiPlatform,
  WINDOWS_AMD64,
  type MultiPlatformImage,
} from '../fixtures/images.ts';
import { tarLayer } from '../fixtures/tar.ts';
import { filesOf } from '../support/bundles.ts';
import { runCommand } from '../support/command.ts';
import { startContainerd } from '../support/containerd.ts';
import { startDockerd, type Dockerd } from '../support/dockerd.ts';
import { attestationOf, blobsNamedBy, digestsOf } from '../support/image-digests.ts';
import { startPierhead, type Pierhead } from '../support/pierhead.ts';
import { createPodman } from '../support/podman.ts';
import { skopeo } from '../support/skopeo.ts';
import { tempFolder, testFolder, type TempFolder } from '../support/temp.ts';

/** Nobody listens there. */
const NOWHERE = '127.0.0.1:9';
const PLATFORMS = ['linux/amd64', 'linux/arm64/v8'] as const;
const BASE = tarLayer([{ path: 'base', content: 'what all images have in common'.repeat(1000) }]);
const NAMES = Array.from({ length: 10 }, (_, at) => `service-${at}`);

/** Each for three platforms, of which two are pulled; every other one with the media types of Docker. */
function serviceImage(name: string, version: number): MultiPlatformImage {
  return multiPlatform({
    platforms: [LINUX_AMD64, LINUX_ARM64, WINDOWS_AMD64],
    message: `${name} ${version}`,
    mediaTypes: isOci(name) ? 'oci' : 'docker',
    layers: [BASE],
  });
}

const isOci = (name: string): boolean => Number(name.slice(-1)) % 2 === 0;

/** What is pulled of an image, on both platforms. */
const pulledBlobs = (image: MultiPlatformImage): Digest[] =>
  PLATFORMS.flatMap((platform) => digestsOf(image, platform).blobs);

/** The same with the attestations, which clients leave to those who want to see them. */
const warmedBlobs = (image: MultiPlatformImage): Digest[] => [
  ...pulledBlobs(image),
  ...PLATFORMS.flatMap((platform) => {
    const attestation = attestationOf(image, platform);
    return blobsNamedBy(image.manifests.find(({ digest }) => digest === attestation)?.bytes);
  }),
];

/** What a bundle holds besides manifests, by what it says itself. */
async function blobsIn(path: string): Promise<string[]> {
  const contents = filesOf(await readFile(path)).find(({ name }) => name === 'pierhead.json');
  const { blobs } = JSON.parse(contents?.bytes.toString() ?? '{}') as { blobs: { digest: string }[] };
  return blobs.map(({ digest }) => digest).sort();
}

describe('ten images that a site without a network needs', () => {
  const images = new Map(NAMES.map((name) => [name, serviceImage(name, 1)]));
  let folder: TempFolder;
  let hub: FakeHub;
  let siteA: Pierhead;
  let dockerA: Dockerd;

  const path = (name: string): string => join(folder.path, name);
  const atA = (...args: string[]) => runCommand(args, { dataDir: path('a'), upstreamUrl: hub.url });
  const atB = (...args: string[]) =>
    runCommand(args, { dataDir: path('b'), upstreamUrl: `http://${NOWHERE}` });

  /** A Docker Engine pulls for amd64, a containerd for arm64. */
  async function pullAtA(names: readonly string[]): Promise<void> {
    const containerd = await startContainerd({ mirror: siteA.host });
    try {
      for (const name of names) {
        await dockerA.docker('pull', name);
        await containerd.fetch(`docker.io/library/${name}:latest`, '--platform', 'linux/arm64');
      }
    } finally {
      await containerd.close();
    }
  }

  /** Writes what was pulled into a bundle, with what is to be had besides. */
  async function exportAtA(bundle: string, ...flags: string[]): Promise<Readonly<Record<string, unknown>>> {
    const lock = await atA('lock', '-o', path('images.lock'));
    expect(lock.status, lock.stderr).toBe(0);
    const warm = await atA('warm', '-f', path('images.lock'));
    expect(warm.status, warm.stderr).toBe(0);
    const exported = await atA('export', '-o', path(bundle), '-f', path('images.lock'), '--json', ...flags);
    expect(exported.status, exported.stderr).toBe(0);
    return JSON.parse(exported.stdout.toString()) as Readonly<Record<string, unknown>>;
  }

  beforeAll(async () => {
    folder = await tempFolder();
    hub = await startFakeHub();
    for (const [name, image] of images) hub.add({ repository: `library/${name}`, tags: ['latest'], image });
    siteA = await startPierhead({ upstreamUrl: hub.url, dataDir: path('a'), settings: { TAG_TTL: '0s' } });
    dockerA = await startDockerd({ mirror: siteA.host });
    await pullAtA(NAMES);
    await exportAtA('images.tar');
  });

  afterAll(async () => {
    await dockerA?.close();
    await siteA?.close();
    await hub?.close();
    await folder?.remove();
  });

  it('are written with what was pulled of them, and nothing else', async () => {
    const wanted = new Set([...images.values()].flatMap(warmedBlobs));
    expect(await blobsIn(path('images.tar'))).toEqual([...wanted].sort());
    const names = new Set(filesOf(await readFile(path('images.tar'))).map(({ name }) => name));
    for (const { root } of images.values())
      expect(names).toContain(root.digest.replace('sha256:', 'blobs/sha256/'));
  });

  it('are pulled there by tag and by digest, and run; what has moved since comes as a delta', async () => {
    const siteB = await startPierhead({
      upstreamUrl: `http://${NOWHERE}`,
      dataDir: path('b'),
      settings: { OFFLINE: 'true' },
    });
    onTestFinished(() => siteB.close());
    const dockerB = await startDockerd({ mirror: siteB.host });
    onTestFinished(() => dockerB.close());
    const imported = await atB('import', path('images.tar'));
    expect(imported.status, imported.stderr).toBe(0);
    expect(imported.stdout.toString()).toContain(': 10 images, ');
    const check = await atB('check', path('images.lock'));
    expect(check.status, check.stdout.toString()).toBe(0);
    for (const [name, { root }] of images) {
      await dockerB.docker('pull', name);
      await dockerB.docker('pull', `${name}@${root.digest}`);
      await dockerB.docker('pull', '--platform', 'linux/arm64', name);
    }
    const run = (name: string): Promise<string> =>
      dockerB.docker(
        'run',
        '--rm',
        '--pull',
        'always',
        '--platform',
        'linux/amd64',
        '--network',
        'none',
        name,
      );
    expect(await run('service-3')).toBe('service-3 1');

    const moved = NAMES.slice(2, 4).map((name) => ({ name, image: serviceImage(name, 2) }));
    for (const { name, image } of moved) hub.add({ repository: `library/${name}`, tags: ['latest'], image });
    await pullAtA(moved.map(({ name }) => name));
    const delta = await exportAtA('delta.tar', '--since', path('images.tar'));
    const before = new Set<string>(await blobsIn(path('images.tar')));
    const fresh = new Set(
      moved.flatMap(({ image }) => warmedBlobs(image)).filter((digest) => !before.has(digest)),
    );
    expect(await blobsIn(path('delta.tar'))).toEqual([...fresh].sort());
    expect(delta).toMatchObject({ blobs: fresh.size, base: before.size });
    expect((await stat(path('delta.tar'))).size).toBe(delta['bytes']);
    const next = await atB('import', path('delta.tar'));
    expect(next.status, next.stderr).toBe(0);
    expect(next.stdout.toString()).toContain(`${fresh.size} blobs added`);
    expect(await run('service-3')).toBe('service-3 2');
    expect(await run('service-4')).toBe('service-4 1');
    // What the tag named before can still be had by its digest.
    await dockerB.docker('pull', `service-3@${images.get('service-3')?.root.digest}`);
  });

  it('are read by docker load, which gets them for one platform', async () => {
    const dockerd = await startDockerd({ mirror: NOWHERE });
    onTestFinished(() => dockerd.close());
    const loaded = await dockerd.docker('load', '-i', path('images.tar'));
    expect(loaded.split('\n').sort()).toEqual(NAMES.map((name) => `Loaded image: ${name}:latest`));
    expect(await dockerd.docker('run', '--rm', '--network', 'none', 'service-1')).toBe('service-1 1');
  });

  it('are read by ctr images import', async () => {
    const containerd = await startContainerd({ mirror: NOWHERE });
    onTestFinished(() => containerd.close());
    await containerd.ctr('images', 'import', path('images.tar'));
    const { stdout } = await containerd.ctr('images', 'ls', '-q');
    expect(stdout.toString().trim().split('\n').sort()).toEqual(
      NAMES.map((name) => `docker.io/library/${name}:latest`),
    );
    const held = new Set(await containerd.contentDigests());
    for (const image of images.values()) {
      for (const digest of digestsOf(image, 'linux/amd64').blobs) expect(held).toContain(digest);
    }
  });

  it('are read by podman load', async () => {
    const podman = await createPodman({ mirror: NOWHERE });
    onTestFinished(() => podman.close());
    const loaded = await podman.podman('load', '--quiet', '--input', path('images.tar'));
    for (const name of NAMES) expect(loaded).toContain(`docker.io/library/${name}:latest`);
  });

  it('are read by skopeo, as oci-archive with the digests of the registry, those of Docker as docker-archive', async () => {
    for (const name of ['service-0', 'service-1']) {
      const kind = isOci(name) ? 'oci-archive' : 'docker-archive';
      const target = await testFolder();
      await skopeo('copy', `${kind}:${path('images.tar')}:docker.io/library/${name}:latest`, `dir:${target}`);
      const layer = images.get(name)?.images.get('linux/amd64')?.layers[0]?.digest ?? '';
      const manifest = await readFile(join(target, 'manifest.json'), 'utf8');
      if (isOci(name)) expect(manifest).toContain(layer);
      else expect(manifest).toContain('application/vnd.docker.distribution.manifest.v2+json');
    }
  });
});
