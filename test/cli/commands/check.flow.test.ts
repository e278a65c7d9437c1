import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { renderLockFile } from '../../../src/image-files/lock.ts';
import type { Digest } from '../../../src/oci/digest.ts';
import { blobPath } from '../../../src/store/part/layout.ts';
import { openIndex } from '../../../src/store/manifest/lmdb.ts';
import type { FakeHub, FakeHubOptions } from '../../fake/hub.ts';
import { image, multiPlatform, WINDOWS_AMD64 } from '../../fixtures/images.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { attempt } from '../../support/commands.ts';
import { filledHub, GOLANG, PLAIN } from '../../support/filled-hub.ts';
import { MAIN } from '../../support/program.ts';
import { shorten } from '../../support/stored-files.ts';
import { testFolder } from '../../support/temp.ts';

const list = GOLANG.image.root.digest;

const partsOf = (platform: string) => {
  const child = GOLANG.image.images.get(platform);
  if (child === undefined) throw new Error(`golang is not for ${platform}`);
  return { manifest: child.root.digest, blobs: [child.config, ...child.layers].map(({ digest }) => digest) };
};

interface Checked {
  readonly isReady: boolean;
  readonly problems: readonly string[];
  readonly images: readonly {
    readonly image: string;
    readonly isReady: boolean;
    readonly problems: readonly string[];
    readonly neededBy: readonly string[];
    readonly platforms: readonly {
      readonly platform: string;
      readonly isComplete: boolean;
      readonly missing: readonly { readonly kind: string; readonly digest?: string }[];
    }[];
  }[];
}

interface Setting {
  readonly app: TestApp;
  readonly hub: FakeHub;
  /** Where files are that are to be checked. */
  readonly folder: string;
  readonly run: (
    args: readonly string[],
    env?: Readonly<Record<string, string>>,
  ) => ReturnType<typeof attempt>;
  readonly checked: (...args: readonly string[]) => Promise<Checked>;
}

/** A server that runs, what it knows of upstream, and a folder of files beside it. */
async function setting(
  options: { readonly hub?: FakeHubOptions; readonly flags?: Record<string, string> } = {},
): Promise<Setting> {
  const hub = await filledHub(options.hub);
  const app = await startTestApp({ hub, flags: { readAhead: 'off', tagTtl: '1h', ...options.flags } });
  const folder = await testFolder();
  const settings = ['--data-dir', app.dataDir, '--upstream', hub.url];
  const run = (args: readonly string[], env: Readonly<Record<string, string>> = {}) =>
    attempt({ program: process.execPath, args: [MAIN, 'check', ...args, ...settings], cwd: folder, env });
  return {
    app,
    hub,
    folder,
    run,
    checked: async (...args) => JSON.parse((await run([...args, '--json'])).stdout.toString()) as Checked,
  };
}

/** Has a client of a platform pull all of golang, its attestation too. */
async function pullGolang(app: TestApp, platform = 'linux/amd64'): Promise<boolean> {
  const { manifest, blobs } = partsOf(platform);
  const at = [...GOLANG.image.images.keys()].indexOf(platform);
  const attestation = GOLANG.image.attestations[at];
  const statement = attestation === undefined ? [] : [`manifests/${attestation.digest}`];
  const layers = JSON.parse(attestation?.bytes.toString() ?? '{"layers":[]}') as {
    config?: { digest: string };
    layers: { digest: string }[];
  };
  const rest = [layers.config, ...layers.layers].flatMap((blob) => blob?.digest ?? []);
  const targets = [
    'manifests/latest',
    `manifests/${manifest}`,
    ...blobs.map((digest) => `blobs/${digest}`),
    ...statement,
    ...rest.map((digest) => `blobs/${digest}`),
  ];
  for (const target of targets) {
    const { status, complete } = await app.get(`/v2/library/golang/${target}`);
    if (status !== 200 || !complete) return false;
  }
  return true;
}

describe('`pierhead check`', () => {
  it('says of each image and platform whether it could be pulled, and asks nobody', async () => {
    const { app, hub, run, folder } = await setting();
    await pullGolang(app);
    hub.reset();
    const compose =
      'services:\n  a: { image: golang }\n  b: { image: golang, platform: linux/arm64 }\n  c: { image: plain }\n';
    await writeFile(join(folder, 'compose.yaml'), compose);
    const { status, stdout, stderr } = await run(['compose.yaml']);
    expect({ status, stderr }).toEqual({ status: 1, stderr: '' });
    const lines = stdout.toString();
    expect(lines).toMatch(/^golang:latest +linux\/amd64 +\S+ k?B +cached +compose.yaml:2, compose.yaml:3$/m);
    expect(lines).toMatch(/^golang:latest +linux\/arm64 +0 B +missing: 2 manifests +compose.yaml:2/m);
    expect(lines).toMatch(/^plain:latest +- +- +the tag is not cached +compose.yaml:4$/m);
    expect(lines).toMatch(/^0 of 2 images could be pulled now if upstreams were unreachable$/m);
    expect(hub.requests).toEqual([]);
  });

  it('is 0 for what a client gets with upstream gone, and 1 as soon as any part of that is missing', async () => {
    const { app, hub, run } = await setting({ flags: { failMode: 'strict' } });
    await pullGolang(app);
    await hub.stop();
    expect((await run(['golang'])).status).toBe(0);
    expect(await pullGolang(app)).toBe(true);
    for (const digest of partsOf('linux/amd64').blobs) {
      await rm(blobPath(app.dataDir, digest));
      expect((await run(['golang'])).stdout.toString()).toMatch(/(partial|missing): \d of \d+ blobs \(/);
    }
    // Small blobs that were read a moment ago are still in the memory of this server, and in no other's.
    await app.stop();
    const { dataDir } = app;
    const next = await startTestApp({ hub, dataDir, flags: { tagTtl: '1h', failMode: 'strict' } });
    expect(await pullGolang(next)).toBe(false);
  });

  it.each([
    [
      'a blob is short',
      async (app: TestApp) => shorten(app.dataDir, partsOf('linux/amd64').blobs[1] as Digest),
      'blob',
    ],
    [
      'a manifest is missing',
      async (app: TestApp) => forget(app.dataDir, partsOf('linux/amd64').manifest),
      'manifest',
    ],
    [
      'its attestation is missing, which Docker 29 fetches',
      async (app: TestApp) => forget(app.dataDir, GOLANG.image.attestations[0]?.digest as Digest),
      'manifest',
    ],
  ])('says what is missing if %s', async (_, spoil, kind) => {
    const { app, checked } = await setting();
    await pullGolang(app);
    expect((await checked('golang')).isReady).toBe(true);
    await app.stop();
    await spoil(app);
    const { isReady, images } = await checked('golang');
    expect(isReady).toBe(false);
    expect(images[0]?.platforms[0]?.missing.map((part) => part.kind)).toEqual([kind]);
    expect(images[0]?.platforms[0]?.missing[0]?.digest).toMatch(/^sha256:/);
  });

  it('fetches what is missing with --warm, beside a server and without one', async () => {
    const { app, hub, run, folder } = await setting();
    await mkdir(join(folder, 'app'));
    await writeFile(
      join(folder, 'app/Dockerfile'),
      'ARG V=1.22\nFROM golang:$V AS build\nFROM scratch\nCOPY --from=build / /\n',
    );
    await writeFile(
      join(folder, 'pods.yaml'),
      'kind: Pod\nspec: { containers: [{ image: plain }] }\n---\nkind: Deployment\nspec: { template: { spec: { initContainers: [{ image: "golang:1.22" }], nodeSelector: { kubernetes.io/arch: arm64 } } } }\n',
    );
    const files = ['app/Dockerfile', 'pods.yaml'];
    expect((await run(files)).status).toBe(1);
    const beside = await run(['--warm', 'app/Dockerfile']);
    expect(beside.stdout.toString()).toContain('1 image: all could be pulled now');
    expect(beside.status).toBe(0);
    await app.stop();
    const alone = await run(['--warm', ...files]);
    expect(alone.stderr).toContain('downloaded 2 images\n');
    expect(alone.status).toBe(0);
    hub.reset();
    expect((await run(['--warm', ...files])).status).toBe(0);
    expect(hub.requests).toEqual([]);
    await hub.stop();
    const later = await startTestApp({ hub, dataDir: app.dataDir });
    expect(
      (await later.get(`/v2/library/golang/manifests/${partsOf('linux/arm64/v8').manifest}`)).status,
    ).toBe(200);
  });

  it('says with --warm what cannot be fetched', async () => {
    const { run } = await setting();
    const { status, stdout, stderr } = await run(['--warm', 'golang', 'nothing']);
    expect(status).toBe(1);
    expect(stderr).toContain('pierhead: nothing:latest: docker.io refuses nothing:latest (401)\n');
    expect(stdout.toString()).toMatch(/^1 of 2 images could be pulled now/m);
  });

  it('reads locks, whose tags must name what they lock, and lists', async () => {
    const { app, hub, checked, folder } = await setting({ flags: { tagTtl: '0s' } });
    await pullGolang(app);
    const repository = { host: 'docker.io', name: 'library/golang' };
    const amd64 = { os: 'linux', architecture: 'amd64' };
    const lock = renderLockFile([{ repository, tag: 'latest', digest: list, platforms: [amd64] }]);
    await writeFile(join(folder, 'images.lock'), lock);
    await writeFile(join(folder, 'images.txt'), `golang@${list} linux/amd64\n`);
    expect((await checked('images.lock', 'images.txt')).isReady).toBe(true);
    const renewed = multiPlatform({ message: 'renewed' });
    hub.add({ repository: 'library/golang', image: renewed });
    hub.moveTag('library/golang', 'latest', renewed.root.digest);
    await app.get('/v2/library/golang/manifests/latest');
    const { images } = await checked('images.lock', 'images.txt');
    expect(images.map(({ isReady, problems }) => [isReady, ...problems])).toEqual([
      [false, `the cached tag names ${renewed.root.digest}`],
      [true],
    ]);
  });

  it('takes the platforms of the words, else of the file, else of the settings', async () => {
    const { app, checked } = await setting();
    await pullGolang(app);
    const platforms = async (...args: readonly string[]) =>
      (await checked(...args)).images[0]?.platforms.map((each) => [each.platform, each.isComplete]);
    expect(await platforms('golang', '--platform', 'linux/amd64,linux/386,linux/arm/v7')).toEqual([
      ['linux/amd64', true],
      ['linux/386', false],
      ['linux/arm/v7', false],
    ]);
    expect(await platforms('golang', '--platform', 'all')).toEqual([['all', false]]);
    expect(await platforms('golang', '--platforms', 'linux/arm64')).toEqual([['linux/arm64', false]]);
  });

  it('knows what would not be served although it is there', async () => {
    const { app, checked } = await setting();
    await pullGolang(app);
    const layer = PLAIN.image.root.digest;
    const { images } = await checked('ghcr.io/org/app', `golang@${layer}`, `plain@${list}`);
    expect(images.map(({ problems }) => problems[0])).toEqual([
      'ghcr.io is not an upstream; add it to `upstreams`',
      'not known to belong to this repository',
      'not known to belong to this repository',
    ]);
  });

  it('knows that what only credentials can see is not served', async () => {
    const hub = await filledHub();
    const env = { PIERHEAD_UPSTREAM_USERNAME: 'carol', PIERHEAD_UPSTREAM_PASSWORD: 'secret' };
    const app = await startTestApp({ hub, env: { ...env, PIERHEAD_READ_AHEAD: 'off' } });
    await app.get('/v2/carol/private/manifests/latest');
    const args = [MAIN, 'check', 'carol/private', '--json', '--data-dir', app.dataDir, '--upstream', hub.url];
    const { stdout } = await attempt({ program: process.execPath, args, cwd: app.dataDir, env });
    expect((JSON.parse(stdout.toString()) as Checked).images[0]?.problems).toEqual([
      'its repository was not found to be public, and no `private` pattern names it',
    ]);
  });

  it('knows what the settings let nobody pull', async () => {
    const { app, hub, folder, checked } = await setting();
    await pullGolang(app);
    const upstreams = `upstreams:\n  docker.io:\n    url: ${hub.url}\n    deny: [library/golang]\n`;
    await writeFile(join(folder, 'pierhead.yaml'), upstreams);
    const { images } = await checked('golang', '--config', 'pierhead.yaml');
    expect(images[0]?.problems).toEqual(['golang may not be pulled here: by the settings of this mirror']);
  });

  it('does not count layers that are held elsewhere, and says so', async () => {
    const { app, hub, run } = await setting();
    const foreign = {
      digest: `sha256:${'ee'.repeat(32)}` as Digest,
      size: 9,
      urls: ['https://example.com/'],
    };
    const mediaType = 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip';
    const windows = image({ platform: WINDOWS_AMD64, foreignLayers: [{ ...foreign, mediaType }] });
    hub.add({ repository: 'library/windows', tags: ['latest'], image: windows });
    const { status, stdout } = await run(['--warm', 'windows', '--platform', 'windows/amd64']);
    expect(status).toBe(0);
    expect(stdout.toString()).toContain('cached; without 1 foreign layer');
    expect((await app.get(`/v2/library/windows/manifests/latest`)).status).toBe(200);
  });

  it('has the variables of the environment and of the file beside', async () => {
    const { run, folder } = await setting();
    await writeFile(
      join(folder, 'compose.yaml'),
      'services:\n  a: { image: "$NAME:$TAG" }\n  b: { image: "x:$NONE" }\n',
    );
    await writeFile(join(folder, '.env'), 'NAME=plain\nTAG=old\n');
    const { status, stdout } = await run(['compose.yaml'], { TAG: 'latest' });
    expect(status).toBe(1);
    expect(stdout.toString()).toContain('plain:latest');
    expect(stdout.toString()).toContain(
      'not understood: compose.yaml:3: "x:" is not the name of an image (NONE is not set)\n',
    );
  });

  it('reads what a Compose file includes and extends, once, and says where one is missing', async () => {
    const { run, folder } = await setting();
    await mkdir(join(folder, 'sub'));
    const files = {
      'compose.yaml':
        'include: [sub/a.yaml]\nservices: { x: { extends: { file: sub/b.yaml, service: y } } }\n',
      'sub/a.yaml': 'include: [../compose.yaml, a.yaml]\nservices: { a: { image: "$NAME" } }\n',
      'sub/b.yaml': 'services: { y: { image: "b:1" }, z: { image: "never:1" } }\n',
      'sub/.env': 'NAME=named-beside\n',
    };
    for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
    const { stdout } = await run(['compose.yaml']);
    const text = stdout.toString();
    expect(text).toMatch(/^named-beside:latest .* sub\/a.yaml:2$/m);
    expect(text).toMatch(/^b:1 .* sub\/b.yaml:1$/m);
    expect(text).toMatch(/^0 of 2 images/m);
    await rm(join(folder, 'sub/b.yaml'));
    const { status, stderr } = await run(['compose.yaml']);
    expect(status).toBe(2);
    expect(stderr).toContain('compose.yaml:2: cannot read sub/b.yaml');
  });

  it('is 1 where nothing was understood as an image, unless that is allowed', async () => {
    const { run, folder } = await setting();
    const files = {
      'empty.yaml': '',
      Dockerfile: '',
      'objects.yaml': 'kind: Namespace\nmetadata: { name: x }\n',
    };
    for (const [name, text] of Object.entries(files)) {
      await writeFile(join(folder, name), text);
      const { status, stdout } = await run([name]);
      expect([name, status]).toEqual([name, 1]);
      expect(stdout.toString()).toContain('no image was found; with --allow-empty this is no failure');
      expect((await run([name, '--allow-empty'])).status).toBe(0);
    }
    expect((await run(['--warm', 'empty.yaml'])).status).toBe(1);
  });

  it('reads what Windows editors write: UTF-16 and byte order marks', async () => {
    const { run, folder } = await setting();
    const text = 'services:\r\n  a:\r\n    image: plain\r\n';
    const le = Buffer.from(`\ufeff${text}`, 'utf16le');
    const files = {
      'le.yaml': le,
      'be.yaml': Buffer.from(le).swap16(),
      'marked.yaml': Buffer.from(`\ufeff${text}`),
      'list.txt': Buffer.from('\ufeffplain\r\n', 'utf16le'),
    };
    for (const [name, bytes] of Object.entries(files)) {
      await writeFile(join(folder, name), bytes);
      const { stdout } = await run([name]);
      expect(stdout.toString(), name).toMatch(/^plain:latest /m);
    }
    await writeFile(join(folder, 'binary.yaml'), Buffer.from([0x7f, 0x45, 0, 0, 1]));
    const { status, stderr } = await run(['binary.yaml']);
    expect([status, stderr]).toEqual([
      2,
      expect.stringContaining('binary.yaml is not a text in UTF-8 or UTF-16'),
    ]);
  });

  it('applies the images of kustomizations to all that they are made of', async () => {
    const { run, folder } = await setting();
    await mkdir(join(folder, 'base'));
    await mkdir(join(folder, 'prod'));
    const pod = 'kind: Pod\nspec: { containers: [{ image: "web:dev" }, { image: "sidecar:1" }] }\n';
    const files = {
      'base/pod.yaml': pod,
      'base/kustomization.yaml': 'resources: [pod.yaml]\nimages: [{ name: web, newName: golang }]\n',
      'prod/kustomization.yaml':
        'resources: [../base]\nimages: [{ name: golang, newTag: latest }, { name: sidecar, newName: plain, newTag: latest }]\n',
    };
    for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
    for (const word of ['prod/kustomization.yaml', './prod', 'prod/', 'prod']) {
      const { stdout } = await run([word]);
      expect(stdout.toString()).toMatch(
        /^golang:latest .* prod\/..\/base\/pod.yaml:2$|^golang:latest .* base\/pod.yaml:2$/m,
      );
      expect(stdout.toString()).toMatch(/^plain:latest .*base\/pod.yaml:2$/m);
      expect(stdout.toString()).toMatch(/^0 of 2 images/m);
    }
  });

  it('takes build arguments and files of variables', async () => {
    const { run, folder } = await setting();
    await writeFile(join(folder, 'Dockerfile'), 'ARG NAME\nARG TAG=none\nFROM $NAME:$TAG\n');
    await writeFile(join(folder, 'compose.yaml'), 'services: { a: { image: "$NAME:$TAG" } }\n');
    await writeFile(join(folder, 'one.env'), 'NAME=plain\nTAG=old\n');
    await writeFile(join(folder, 'two.env'), 'TAG=latest\n');
    const built = await run(['Dockerfile', '--build-arg', 'NAME=plain', '--build-arg', 'TAG'], {
      TAG: 'latest',
    });
    expect(built.stdout.toString()).toMatch(/^plain:latest /m);
    const composed = await run(['--env-file', 'one.env', '--env-file', 'two.env', 'compose.yaml']);
    expect(composed.stdout.toString()).toMatch(/^plain:latest /m);
    // Node 20 looks for a flag of its own by this name behind the program, too, and says so first (nodejs/node#54232).
    const missing = await run(['--env-file', 'three.env', 'compose.yaml']);
    expect([missing.status === 0, missing.stderr]).toEqual([false, expect.stringContaining('three.env')]);
  });

  it('checks each build of a Dockerfile for the images of its platform alone', async () => {
    const { app, checked, folder } = await setting();
    await app.get('/v2/library/golang/manifests/latest');
    await writeFile(join(folder, 'Dockerfile'), 'FROM golang${TARGETVARIANT}\n');
    const { images } = await checked('Dockerfile', '--platform', 'linux/amd64,linux/arm/v7');
    expect(images.map((each) => [each.image, each.platforms.map(({ platform }) => platform)])).toEqual([
      ['golang:latest', ['linux/amd64']],
      ['golangv7:latest', []],
    ]);
  });

  it('is 2 for a file of variables that cannot be read as one, and names it', async () => {
    const { run, folder } = await setting();
    await writeFile(join(folder, 'compose.yaml'), 'services: { a: { image: plain } }\n');
    await writeFile(join(folder, '.env'), 'NAME=${OTHER:?must be set}\n');
    const { status, stderr } = await run(['compose.yaml']);
    expect(stderr).toContain('.env: OTHER is not set: must be set');
    expect(status).toBe(2);
  });

  it.each([
    [['compose.yml'], 'cannot read compose.yml: no such file or directory (ENOENT)\n'],
    [['./golang'], 'cannot read ./golang'],
    [['golang/'], 'cannot read golang/'],
    [['Golang'], '"Golang" is not a file, and not the name of an image'],
    [['golang', '--platform', 'arm64'], '"arm64" is not a platform'],
    [[], "missing required argument 'what'"],
  ])('is 2 for %j', async (args, message) => {
    const { run } = await setting();
    const { status, stderr } = await run(args);
    expect(stderr).toContain(message);
    expect(status).toBe(2);
  });
});

async function forget(dataDir: string, digest: Digest): Promise<void> {
  const index = openIndex(join(dataDir, 'index'));
  await index.deleteManifest(digest);
  await index.close();
}
