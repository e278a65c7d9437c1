import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { parseImageList } from '../../../src/image-files/list.ts';
import { formatListedImage } from '../../../src/oci/image-name.ts';
import { OCI_MANIFEST } from '../../../src/oci/media-types.ts';
import { openIndex } from '../../../src/store/manifest/lmdb.ts';
import { image, multiPlatform } from '../../fixtures/images.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { runCommand } from '../../support/command.ts';
import { filledHub, GOLANG } from '../../support/filled-hub.ts';
import { fetchRaw } from '../../support/http.ts';
import { startPierhead } from '../../support/pierhead.ts';
import { testFolder } from '../../support/temp.ts';
import { eventually } from '../../support/wait.ts';

const LATEST = '/v2/library/golang/manifests/latest';
const list = GOLANG.image.root.digest;
const childOf = (platform: string) => GOLANG.image.images.get(platform)?.root.digest ?? '';
const manifest = (digest: string) => `/v2/library/golang/manifests/${digest}`;
const agent = (text: string) => ({ headers: [['User-Agent', text]] as const });
const CONTAINERD = agent('containerd/2.1.0');

/** The images of the lock that `pierhead lock` writes, a line each. */
async function locked(dataDir: string, ...args: readonly string[]): Promise<string[]> {
  const { status, stdout, stderr } = await runCommand(['lock', ...args], {
    dataDir,
    upstreamUrl: 'http://127.0.0.1:9',
  });
  expect({ status, stderr }).toEqual({ status: 0, stderr: expect.any(String) as string });
  return parseImageList('lock', stdout.toString()).map(formatListedImage);
}

/** What a Docker Engine does that has nothing of the image. */
async function dockerPull(app: TestApp, arch: string, child: string): Promise<void> {
  const docker = agent(`docker/28.5.2 go/go1.24 os/linux arch/${arch}`);
  await app.head(LATEST, docker);
  await app.get(LATEST, docker);
  await app.get(manifest(child), docker);
}

describe('`pierhead lock`', () => {
  it('writes what was pulled a moment ago, by tag, list and platform', async () => {
    const app = await startTestApp({ hub: await filledHub() });
    await dockerPull(app, 'arm64', childOf('linux/arm64/v8'));
    await app.get('/v2/library/plain/manifests/latest');
    expect(await locked(app.dataDir)).toEqual([
      `golang:latest@${list} linux/arm64`,
      expect.stringMatching(/^plain:latest@sha256:\w{64}$/),
    ]);
  });

  it('knows the tag of a client that resolves it by HEAD and gets the rest by digest', async () => {
    const app = await startTestApp({ hub: await filledHub() });
    await app.head(LATEST, CONTAINERD);
    expect(await locked(app.dataDir)).toEqual([]);
    await app.get(manifest(list), CONTAINERD);
    await app.get(manifest(childOf('linux/amd64')), CONTAINERD);
    await app.get(manifest(childOf('linux/arm/v7')), CONTAINERD);
    expect(await locked(app.dataDir)).toEqual([`golang:latest@${list} linux/amd64,linux/arm/v7`]);
  });

  it('has all tags that a client asked for of what it then got by digest', async () => {
    const app = await startTestApp({ hub: await filledHub() });
    await app.head(LATEST, CONTAINERD);
    await app.head('/v2/library/golang/manifests/1.22', CONTAINERD);
    await app.get(manifest(list), CONTAINERD);
    await app.get(manifest(childOf('linux/amd64')), CONTAINERD);
    expect(await locked(app.dataDir)).toEqual([
      `golang:1.22@${list} linux/amd64`,
      `golang:latest@${list} linux/amd64`,
    ]);
  });

  it('has of what was pulled what a file needs', async () => {
    const app = await startTestApp({ hub: await filledHub() });
    await app.get('/v2/library/plain/manifests/latest');
    await app.get(LATEST);
    const file = join(await testFolder(), 'Dockerfile');
    await writeFile(file, 'ARG NAME\nFROM $NAME\n');
    const named = await locked(app.dataDir, '-f', file, '--build-arg', 'NAME=plain');
    expect(named).toEqual([expect.stringMatching(/^plain:latest@sha256:\w{64}$/)]);
  });

  it('is none of a file that needs no image, which is a failure and writes nothing', async () => {
    const app = await startTestApp({ hub: await filledHub() });
    const folder = await testFolder();
    const [file, output] = [join(folder, 'empty.yaml'), join(folder, 'images.lock')];
    await writeFile(file, '');
    const outcome = await runCommand(['lock', '-f', file, '-o', output], {
      dataDir: app.dataDir,
      upstreamUrl: app.url,
    });
    expect([outcome.status, outcome.stderr]).toEqual([
      1,
      `pierhead: no image was found: ${file}; name a file that needs some\n`,
    ]);
    expect(await readdir(folder)).toEqual(['empty.yaml']);
  });

  it('names the list even if the client takes none and was given its manifest', async () => {
    const app = await startTestApp({ hub: await filledHub() });
    const accept = { headers: [['Accept', OCI_MANIFEST]] as const };
    expect((await app.get(`${LATEST}?platform=linux/arm/v7`, accept)).status).toBe(200);
    expect(await locked(app.dataDir)).toEqual([`golang:latest@${list} linux/arm/v7`]);
  });

  it('takes HEADs, statements on images, what is fetched ahead and what fails for no pulls', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    await app.head(LATEST);
    await app.get('/v2/library/nothing/manifests/latest');
    const [attestation] = GOLANG.image.attestations;
    await app.get(LATEST, agent('docker/28.5.2 os/linux arch/amd64'));
    await app.get(manifest(attestation?.digest ?? ''));
    await eventually(
      () => hub.count({ reference: childOf('linux/amd64') }) > 0,
      'the manifest to be fetched ahead',
    );
    // The list alone, for whom it is likely for.
    expect(await locked(app.dataDir)).toEqual([`golang:latest@${list} linux/amd64`]);
  });

  it('has what a tag named before by its digest', async () => {
    const hub = await filledHub();
    const renewed = multiPlatform({ message: 'renewed' });
    hub.add({ repository: 'library/golang', image: renewed });
    const app = await startTestApp({ hub, flags: { tagTtl: '0s' } });
    await app.get(LATEST);
    hub.moveTag('library/golang', 'latest', renewed.root.digest);
    await app.get(LATEST);
    expect((await locked(app.dataDir)).sort()).toEqual(
      [`golang:latest@${renewed.root.digest}`, `golang@${list}`].sort(),
    );
  });

  it('selects by time, network and name', async () => {
    const hub = await filledHub();
    hub.add({ repository: 'bitnami/redis', tags: ['7'], image: image({ message: 'redis' }) });
    let now = Date.parse('2026-11-20T08:00Z');
    const yaml = 'clients:\n  - network: 127.0.0.1/32\n    failMode: strict\n';
    const app = await startTestApp({ hub, now: () => now, yaml });
    await app.get(LATEST);
    now = Date.parse('2026-11-21T08:00Z');
    await app.get('/v2/bitnami/redis/manifests/7');
    now = Date.parse('2026-11-22T08:00Z');
    await app.get('/v2/library/plain/manifests/latest');
    const names = async (...args: readonly string[]) =>
      (await locked(app.dataDir, ...args)).map((line) => line.replace(/@.*/, ''));
    expect(await names()).toEqual(['bitnami/redis:7', 'golang:latest', 'plain:latest']);
    expect(await names('--since', '2026-11-21T00:00Z')).toEqual(['bitnami/redis:7', 'plain:latest']);
    expect(await names('--until', '2026-11-21T08:00Z')).toEqual(['golang:latest']);
    expect(await names('--since', '2026-11-21T08:00Z', '--until', '2026-11-22T00:00Z')).toEqual([
      'bitnami/redis:7',
    ]);
    expect(await names('--since', '1s')).toEqual([]);
    expect(await names('--image', 'bitnami/*')).toEqual(['bitnami/redis:7']);
    expect(await names('--image', 'docker.io/library/*', '--until', '2026-11-22')).toEqual(['golang:latest']);
    expect(await names('--client', '127.0.0.1')).toHaveLength(3);
    expect(await names('--client', '127.0.0.2')).toHaveLength(0);
    expect(await names('--client', '10.0.0.0/8')).toHaveLength(0);
  });

  it.each([
    ['--since', 'yesterday', '--since: "yesterday" is not a time'],
    ['--until', '2026-13-01', '--until: "2026-13-01" is not a time'],
    ['--client', '10.0.0.0/33', '--client: "10.0.0.0/33" is not a network'],
  ])('refuses %s %s', async (flag, value, message) => {
    const app = await startTestApp({ hub: await filledHub() });
    const outcome = await runCommand(['lock', flag, value], { dataDir: app.dataDir, upstreamUrl: app.url });
    expect(outcome.status).toBe(2);
    expect(outcome.stderr).toContain(message);
  });

  it('writes a file as a whole, the same for the same pulls, with or without a server', async () => {
    const app = await startTestApp({ hub: await filledHub() });
    await dockerPull(app, 'amd64', childOf('linux/amd64'));
    const file = join(await testFolder(), 'images.lock');
    const options = { dataDir: app.dataDir, upstreamUrl: app.url };
    const beside = await runCommand(['lock', '-o', file], options);
    expect(beside).toMatchObject({ status: 0, stderr: '' });
    expect(beside.stdout.toString()).toBe(`1 image in ${file}\n`);
    const text = await readFile(file, 'utf8');
    await app.stop();
    await runCommand(['lock', '-o', file], options);
    expect(await readFile(file, 'utf8')).toBe(text);
    const nowhere = await runCommand(['lock', '-o', join(file, 'x')], options);
    expect(nowhere.status).toBe(1);
    expect(nowhere.stderr).toContain('cannot write ');
  });

  it('has what was pulled some seconds before the server was killed', async () => {
    const hub = await filledHub();
    const dataDir = join(await testFolder(), 'data');
    const server = await startPierhead({ upstreamUrl: hub.url, dataDir });
    onTestFinished(() => server.close());
    await fetchRaw(`${server.url}${LATEST}`);
    const isWritten = async () => {
      const index = openIndex(join(dataDir, 'index'), { readOnly: true });
      try {
        return index.tables.history.count > 0;
      } finally {
        await index.close();
      }
    };
    await eventually(isWritten, 'the pull to be written');
    await server.kill();
    expect(await locked(dataDir)).toEqual([`golang:latest@${list}`]);
  });
});
