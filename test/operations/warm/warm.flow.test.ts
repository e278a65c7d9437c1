import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { WarmEvent } from '../../../src/operations/protocol.ts';
import type { ImagesRequest } from '../../../src/operations/protocol.ts';
import { askOwner } from '../../../src/cli/control-client.ts';
import { renderLockFile } from '../../../src/image-files/lock.ts';
import { generatedContent } from '../../fake/content.ts';
import type { FakeHub } from '../../fake/hub.ts';
import { image, multiPlatform } from '../../fixtures/images.ts';
import { opaqueLayer } from '../../fixtures/tar.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { bigBlob, hubWith, MIB, rangesAsked } from '../../support/big-blob.ts';
import { runCommand, startCommand } from '../../support/command.ts';
import { filledHub, GOLANG, PLAIN, served } from '../../support/filled-hub.ts';
import { eventually } from '../../support/wait.ts';

const MANIFEST_GETS = { kind: 'manifest', method: 'GET', host: 'registry' } as const;
const list = GOLANG.image.root.digest;

/** Has the server that owns the folder do it. */
async function warm(dataDir: string, request: ImagesRequest) {
  const events: WarmEvent[] = [];
  const run = {
    signal: new AbortController().signal,
    onEvent: (event: WarmEvent) => void events.push(event),
  };
  const answer = await askOwner(dataDir, { name: 'warm', request, run });
  if (answer.kind !== 'done') throw new Error('nobody owns the folder');
  const plan = events.find((event) => event.kind === 'plan')?.plan;
  return { ...answer.result, plan, events };
}

const blobsOf = (platform: string) => {
  const child = GOLANG.image.images.get(platform);
  if (child === undefined) throw new Error(`golang is not for ${platform}`);
  return { child: child.root.digest, blobs: [child.config, ...child.layers].map(({ digest }) => digest) };
};

/** Whether a client of a platform gets all of golang now. */
async function servesGolang(app: TestApp, platform: string): Promise<boolean> {
  const { child, blobs } = blobsOf(platform);
  const targets = ['manifests/latest', `manifests/${child}`, ...blobs.map((digest) => `blobs/${digest}`)];
  for (const target of targets) {
    const { status, complete } = await app.get(`/v2/library/golang/${target}`);
    if (status !== 200 || !complete) return false;
  }
  return true;
}

describe('`pierhead warm` beside a server', () => {
  it('brings in all that the platforms need and nothing else, so that upstream may go', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub, flags: { readAhead: 'off' } });
    const result = await warm(app.dataDir, { images: ['golang'], platforms: ['linux/amd64', 'linux/arm64'] });
    expect(result.images).toEqual([
      {
        image: 'golang:latest',
        platforms: ['linux/amd64', 'linux/arm64'],
        digest: list,
        manifests: 5,
        blobs: 8,
        bytes: result.bytes,
        fetchedBytes: result.bytes,
        failures: [],
        notes: [],
      },
    ]);
    expect(result.pulls).toBe(5);
    expect(served(hub, MANIFEST_GETS)).toBe(5);
    expect(served(hub, { kind: 'blob', method: 'GET', host: 'registry' })).toBe(8);
    await hub.stop();
    expect(await servesGolang(app, 'linux/amd64')).toBe(true);
    expect(await servesGolang(app, 'linux/arm64/v8')).toBe(true);
    expect(await servesGolang(app, 'linux/arm/v7')).toBe(false);
  });

  it('costs nothing where everything is there', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub, flags: { tagTtl: '0s' } });
    await warm(app.dataDir, { images: ['golang', 'plain'], platforms: ['all'] });
    hub.reset();
    const again = await warm(app.dataDir, { images: ['golang', 'plain'], platforms: ['all'] });
    expect(again).toMatchObject({ pulls: 0, bytes: 0, plan: { images: 2, complete: 2, pulls: 0, bytes: 0 } });
    expect(served(hub, { method: 'GET', kind: 'manifest' })).toBe(0);
    expect(served(hub, { method: 'HEAD', kind: 'manifest' })).toBe(2);
    expect(served(hub, { kind: 'blob' })).toBe(0);
  });

  it('says beforehand what it will cost, and of what', async () => {
    const hub = await filledHub({ pulls: { limit: 100, remaining: 90, windowSeconds: 21_600 } });
    const app = await startTestApp({ hub, flags: { readAhead: 'off' } });
    await app.get('/v2/library/golang/manifests/latest');
    const { plan, pulls } = await warm(app.dataDir, {
      images: ['golang', 'plain'],
      platforms: ['linux/amd64'],
    });
    // The child and its attestation, which the list names, and the manifest that is no list.
    expect(plan).toMatchObject({ images: 2, complete: 0, pulls: 3, isAtLeast: true });
    expect(plan?.allowances).toEqual([
      { host: 'docker.io', identity: 'anonymous', limit: 100, remaining: 89, pulls: 3 },
    ]);
    expect(pulls).toBe(3);
  });

  it('takes the platforms of the line, and else those of the settings', async () => {
    const app = await startTestApp({
      hub: await filledHub(),
      flags: { platforms: 'linux/arm/v7,linux/arm64' },
    });
    const { images } = await warm(app.dataDir, { images: ['golang', 'golang:1.22 linux/amd64'] });
    expect(images.map(({ platforms }) => platforms)).toEqual([
      ['linux/arm/v7', 'linux/arm64'],
      ['linux/amd64'],
    ]);
  });

  it('brings in a digest and has the tag beside it checked', async () => {
    const hub = await filledHub();
    const renewed = multiPlatform({ message: 'renewed' });
    hub.add({ repository: 'library/golang', image: renewed });
    const app = await startTestApp({ hub, flags: { tagTtl: '1h' } });
    const request = { images: [`golang:latest@${list}`], platforms: ['linux/amd64'] };
    expect((await warm(app.dataDir, request)).images[0]).toMatchObject({ failures: [], notes: [] });
    hub.moveTag('library/golang', '1.22', renewed.root.digest);
    const moved = await warm(app.dataDir, { ...request, images: [`golang:1.22@${list}`] });
    expect(moved.images[0]).toMatchObject({
      failures: [],
      notes: [`the tag names ${renewed.root.digest} now`],
    });
    await hub.stop();
    expect(await servesGolang(app, 'linux/amd64')).toBe(true);
  });

  it('brings in the digest of a tag where only some tags may be pulled', async () => {
    const hub = await filledHub();
    const yaml = `upstreams:\n  docker.io:\n    url: ${hub.url}\n    allow: ["library/golang:1.*"]\n`;
    const app = await startTestApp({ hub, yaml });
    const { images } = await warm(app.dataDir, {
      images: [`golang:1.22@${list}`, 'golang:latest', `plain@${PLAIN.image.root.digest}`],
    });
    expect(images.map(({ failures }) => failures.length)).toEqual([0, 1, 1]);
    expect(images[1]?.failures[0]).toContain('may not be pulled here');
  });

  it('brings in what refers to an image', async () => {
    const hub = await filledHub();
    const signature = image({ message: 'signature' });
    hub.add({ repository: 'library/plain', image: signature });
    const { digest, mediaType, bytes } = signature.root;
    hub.setReferrers('library/plain', PLAIN.image.root.digest, [{ digest, mediaType, size: bytes.length }]);
    const app = await startTestApp({ hub });
    const { images } = await warm(app.dataDir, { images: ['plain'] });
    expect(images[0]).toMatchObject({ manifests: 2, failures: [] });
    await hub.stop();
    expect((await app.get(`/v2/library/plain/manifests/${digest}`)).status).toBe(200);
    const referrers = await app.get(`/v2/library/plain/referrers/${PLAIN.image.root.digest}`);
    expect(referrers.body.toString()).toContain(digest);
  });

  it('names what failed, and brings in the rest', async () => {
    const hub = await filledHub();
    const [layer] = PLAIN.image.layers;
    hub.fault({ match: { kind: 'blob', reference: layer?.digest ?? '' }, do: { status: { code: 404 } } });
    const app = await startTestApp({ hub });
    const { images } = await warm(app.dataDir, {
      images: ['nothing', 'ghcr.io/org/app', 'plain', 'golang linux/s390x', 'golang:1.22'],
    });
    expect(images.map(({ image: name, failures }) => [name, failures.length])).toEqual([
      ['nothing:latest', 1],
      ['ghcr.io/org/app:latest', 1],
      ['plain:latest', 1],
      ['golang:latest', 1],
      ['golang:1.22', 0],
    ]);
    const texts = images.flatMap(({ failures }) => failures);
    expect(texts[0]).toContain('nothing:latest');
    expect(texts[1]).toBe('ghcr.io is not an upstream; add it to `upstreams`');
    expect(texts[2]).toContain(layer?.digest);
    expect(texts[3]).toBe('linux/s390x: the image has no manifest for this platform');
  });

  it('says that a tag could not be checked, though all of it is there', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub, flags: { tagTtl: '0s' } });
    await warm(app.dataDir, { images: ['plain'] });
    await hub.stop();
    const { images } = await warm(app.dataDir, { images: ['plain'] });
    expect(images[0]?.failures).toEqual([expect.stringMatching(/^the tag check failed: /)]);
  });

  it('leaves the last pulls to clients, and goes on once there are more', async () => {
    const hub = await filledHub({ pulls: { limit: 100, remaining: 12, windowSeconds: 21_600 } });
    const app = await startTestApp({ hub });
    const request = { images: ['golang'], platforms: ['linux/amd64'] };
    const short = await warm(app.dataDir, request);
    expect(short.images[0]?.failures).toEqual([
      `${list}: only 12 of 100 pulls are left, which are kept for images that are not cached`,
    ]);
    expect(hub.pullsRemaining).toBe(12);
    hub.setPulls({ limit: 100, remaining: 22, windowSeconds: 21_600 });
    await app.head('/v2/library/plain/manifests/latest');
    const partial = await warm(app.dataDir, request);
    expect(partial.pulls).toBe(2);
    expect(partial.images[0]?.failures[0]).toMatch(/: only 20 of 100 pulls are left/);
    hub.setPulls({ limit: 100, remaining: 100, windowSeconds: 21_600 });
    await app.head('/v2/library/golang/manifests/1.22');
    expect((await warm(app.dataDir, request)).images[0]?.failures).toEqual([]);
  });

  it('gives its place up to a client that waits', async () => {
    const big = bigBlob({ size: 4 * MIB, seed: 71 });
    const hub = await hubWith(big);
    const app = await startTestApp({ hub, flags: { fills: '1' } });
    const gate = hub.holdBlob(big.content.digest, MIB);
    const warmed = warm(app.dataDir, { images: ['big'] });
    await gate.reached;
    expect(await servesGolang(app, 'linux/amd64')).toBe(true);
    gate.release();
    expect((await warmed).images[0]?.failures).toEqual([]);
    expect((await app.get(big.target)).body.equals(big.whole)).toBe(true);
  });

  it('says so when the cache is too small for all of it', async () => {
    const hub = await filledHub();
    const names = ['one', 'two', 'three', 'four'];
    for (const [seed, name] of names.entries()) {
      const layers = [opaqueLayer(generatedContent({ size: 12 * MIB, seed }))];
      hub.add({ repository: `library/${name}`, tags: ['latest'], image: image({ message: name, layers }) });
    }
    let now = Date.now();
    const app = await startTestApp({ hub, flags: { cacheSize: '40MiB' }, now: () => (now += 60_000) });
    const { images } = await warm(app.dataDir, { images: names });
    const failed = images.filter(({ failures }) => failures.length > 0);
    expect(failed.length).toBeGreaterThan(0);
    expect(failed.length).toBeLessThan(4);
    expect(failed.flatMap(({ failures }) => failures).join()).toMatch(/the cache is (?:full|too small)/);
  });

  it.each([
    [{ images: ['Golang'] }, '"Golang" is not the name of an image'],
    [{ images: ['golang'], platforms: ['arm64'] }, '"arm64" is not a platform'],
    [{ images: 'golang' } as unknown as ImagesRequest, 'images must be a list'],
  ])('refuses %j', async (request, message) => {
    const app = await startTestApp({ hub: await filledHub() });
    await expect(warm(app.dataDir, request)).rejects.toMatchObject({
      code: 'usage',
      message: expect.stringContaining(message) as string,
    });
  });
});

describe('`pierhead warm` on a command line', () => {
  const GOLANG_ROW = new RegExp(`^golang:latest +linux/amd64 +${list} +\\S+ k?B +\\S+ k?B +cached$`, 'm');

  /** A folder that a server has made, and how to run commands there without one. */
  async function folder(hub: FakeHub) {
    const app = await startTestApp({ hub });
    await app.stop();
    hub.reset();
    const options = { dataDir: app.dataDir, upstreamUrl: hub.url };
    return {
      dataDir: app.dataDir,
      run: (...args: string[]) => runCommand(['warm', ...args], options),
      start: (...args: string[]) => startCommand(['warm', ...args], options),
    };
  }

  it('shows what it costs, a table of what came of it, and fails if anything did', async () => {
    const hub = await filledHub({ pulls: { limit: 100, remaining: 90, windowSeconds: 21_600 } });
    const { run } = await folder(hub);
    const { status, stdout, stderr } = await run('golang', 'nothing');
    expect(status).toBe(1);
    expect(stderr).toContain('2 images; to download: at least 2 pulls and 0 B\n');
    expect(stderr).toContain('90 of 100 pulls are left at docker.io (anonymous)\n');
    expect(stderr).toContain('golang:latest: cached\n');
    expect(stdout.toString()).toMatch(GOLANG_ROW);
    expect(stdout.toString()).toMatch(/^nothing:latest +linux\/amd64 +- +0 B +- +failed$/m);
    expect(stdout.toString()).toContain('nothing:latest: docker.io refuses nothing:latest (401)\n');
    expect(stdout.toString()).toMatch(/2 images, \S+ k?B and 3 pulls in .*: 1 failed\n$/);
  });

  it('takes a lock, a list, and JSON out', async () => {
    const { run, dataDir } = await folder(await filledHub());
    const file = join(dataDir, 'images.lock');
    const golang = { host: 'docker.io', name: 'library/golang' };
    const arm = { os: 'linux', architecture: 'arm64' };
    await writeFile(
      file,
      renderLockFile([{ repository: golang, tag: '1.22', digest: list, platforms: [arm] }]),
    );
    const { status, stdout } = await run('-f', file, '--json');
    expect(status).toBe(0);
    expect(JSON.parse(stdout.toString())).toMatchObject({
      images: [{ image: `golang:1.22@${list}`, platforms: ['linux/arm64'], failures: [] }],
    });
    await writeFile(file, '# by hand\nplain\n');
    expect((await run('-f', file, 'golang:1.22', '--platform', 'linux/amd64')).status).toBe(0);
  });

  it('is told in one line what is wrong with its words', async () => {
    const { run, dataDir } = await folder(await filledHub());
    const file = join(dataDir, 'images.txt');
    await writeFile(file, 'plain\n!!\n');
    const wrong = await run('-f', file);
    expect(wrong).toMatchObject({ status: 2 });
    expect(wrong.stderr).toBe(
      `pierhead: ${file}:2: "!!" is not the name of an image, such as golang:1.22, ghcr.io/org/app@sha256:… or golang:1.22@sha256:…\n`,
    );
    expect((await run()).status).toBe(2);
    expect((await run('-f', join(dataDir, 'none'))).status).toBe(2);
    expect((await run('golang', '--platform', 'arm64')).status).toBe(2);
  });

  it.each(['SIGKILL', 'SIGINT'] as const)('goes on where it was after %s', async (signal) => {
    const big = bigBlob({ size: 24 * MIB + 9, seed: 73 });
    const hub = await hubWith(big);
    const { start, run, dataDir } = await folder(hub);
    const gate = hub.holdBlob(big.content.digest, 16 * MIB);
    const broken = start('big', 'golang');
    await gate.reached;
    // What is written of a part is noted from time to time.
    await eventually(async () => (await journalled(dataDir)) > 8 * MIB, 'the journal to tell of it');
    broken.signal(signal);
    expect(await broken.ended()).not.toBe(0);
    gate.release();
    hub.reset();
    const { status, stderr } = await run('big', 'golang');
    expect({ status, stderr }).toMatchObject({ status: 0 });
    const [range] = rangesAsked(hub, big);
    expect(Number(/^bytes=(\d+)-/.exec(range ?? '')?.[1] ?? 0)).toBeGreaterThan(8 * MIB);
    expect(served(hub, { kind: 'manifest', method: 'GET', repository: 'library/big' })).toBe(0);
  });
});

/** Bytes of parts that are noted as written. */
async function journalled(dataDir: string): Promise<number> {
  const folder = join(dataDir, 'parts');
  let bytes = 0;
  for (const name of await readdir(folder)) {
    if (!name.endsWith('.journal')) continue;
    const note = JSON.parse(await readFile(join(folder, name), 'utf8')) as {
      written: { start: number; end: number }[];
    };
    for (const { start, end } of note.written) bytes += end - start;
  }
  return bytes;
}
