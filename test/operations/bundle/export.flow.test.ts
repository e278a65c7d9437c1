import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { buffer, text as textOf } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import { digestOf, type Digest } from '../../../src/oci/digest.ts';
import { OCI_INDEX } from '../../../src/oci/media-types.ts';
import { parsePlatform, type Platform } from '../../../src/oci/platform.ts';
import { blobPath } from '../../../src/store/part/layout.ts';
import type { ImageContent } from '../../fake/library.ts';
import { image, LINUX_AMD64, multiPlatform, storedManifest, WINDOWS_AMD64 } from '../../fixtures/images.ts';
import { opaqueLayer } from '../../fixtures/tar.ts';
import { bytesContent, type Content } from '../../fake/content.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { bigBlob, MIB } from '../../support/big-blob.ts';
import { exportFrom, filesOf, importInto } from '../../support/bundles.ts';
import { filledHub, GOLANG, PLAIN } from '../../support/filled-hub.ts';
import { attestationOf, blobsNamedBy, digestsOf } from '../../support/image-digests.ts';
import { launch } from '../../support/launch.ts';
import { MAIN } from '../../support/program.ts';
import { pullWhole, storedAt } from '../../support/pulls.ts';
import { rot } from '../../support/stored-files.ts';

const platforms = (...texts: string[]): Platform[] =>
  texts.map((text) => parsePlatform(text) ?? { os: '', architecture: '' });

/** Pulls of golang what a client of linux/amd64 does, the attestation included. */
async function pullAmd64(app: TestApp): Promise<void> {
  const { manifests, blobs } = digestsOf(GOLANG.image, 'linux/amd64');
  await app.get('/v2/library/golang/manifests/latest', { headers: [['Accept', '*/*']] });
  const attestation = attestationOf(GOLANG.image, 'linux/amd64');
  for (const digest of [...manifests, attestation]) await app.get(`/v2/library/golang/manifests/${digest}`);
  const statements = GOLANG.image.manifests.find(({ digest }) => digest === attestation);
  for (const digest of [...blobs, ...blobsNamedBy(statements?.bytes)]) {
    await app.get(`/v2/library/golang/blobs/${digest}`);
    await storedAt(app, `/v2/library/golang/blobs/${digest}`);
  }
}

/** What the bundle holds as blobs/…, by digest. */
function held(bytes: Buffer): string[] {
  return filesOf(bytes)
    .filter(({ name }) => name.startsWith('blobs/'))
    .map(({ name }) => name.replace('blobs/sha256/', 'sha256:'))
    .sort();
}

const digestsIn = ({ manifests, blobs }: ImageContent): Digest[] =>
  [...new Set([...manifests, ...blobs].map(({ digest }) => digest))].sort();

describe('a bundle', () => {
  it('has the same bytes whenever the same is written, in whatever order it is named', async () => {
    const app = await startTestApp({ hub: await filledHub() });
    await pullWhole(app, 'library/golang', GOLANG);
    await pullWhole(app, 'library/plain', PLAIN);
    const first = await exportFrom(app.dataDir, ['golang', 'plain']);
    const other = await startTestApp({ hub: await filledHub() });
    await pullWhole(other, 'library/plain', PLAIN);
    await pullWhole(other, 'library/golang', GOLANG);
    const second = await exportFrom(other.dataDir, ['plain', 'golang:latest', 'golang']);
    expect(second.bytes.equals(first.bytes)).toBe(true);
    expect(held(first.bytes)).toEqual([...digestsIn(GOLANG.image), ...digestsIn(PLAIN.image)].sort());
  });

  it('has the same bytes in whatever order platforms and digests of a tag are named', async () => {
    const hub = await filledHub();
    let now = Date.now();
    const app = await startTestApp({ hub, now: () => now });
    await pullWhole(app, 'library/golang', GOLANG);
    const later = ['second', 'third'].map((message) => ({
      tags: ['latest'],
      image: multiPlatform({ message, platforms: [LINUX_AMD64] }),
    }));
    for (const moved of later) {
      hub.add({ repository: 'library/golang', ...moved });
      now += 61_000;
      await pullWhole(app, 'library/golang', moved);
    }
    const written = async (audience: Platform[] | undefined, ...names: string[]): Promise<string> =>
      digestOf((await exportFrom(app.dataDir, names, { audience })).bytes);
    const [one, other] = [platforms('linux/amd64', 'linux/arm64'), platforms('linux/arm64', 'linux/amd64')];
    expect(await written(one, 'golang:1.22')).toBe(await written(other, 'golang:1.22'));
    // Of what the tag named before, one is to have its name.
    const before = [GOLANG.image, ...later.slice(0, 1).map(({ image: each }) => each)].map(
      ({ root }) => `golang:latest@${root.digest}`,
    );
    expect(await written(undefined, ...before)).toBe(await written(undefined, ...before.toReversed()));
    const lines = ['golang:1.22 linux/amd64', 'golang:1.22 linux/arm64'];
    expect(await written(undefined, ...lines)).toBe(await written(undefined, ...lines.toReversed()));
  });

  it('holds nothing under the name of a repository that it is not known to be of', async () => {
    const app = await startTestApp({ hub: await filledHub() });
    await pullWhole(app, 'library/golang', GOLANG);
    await pullWhole(app, 'library/plain', PLAIN);
    const { plan } = await exportFrom(app.dataDir, [
      `plain@${GOLANG.image.root.digest}`,
      `plain@${PLAIN.image.root.digest}`,
    ]);
    expect(plan.lacking).toEqual([
      { image: `plain@${GOLANG.image.root.digest}`, lacks: ['not known to belong to this repository'] },
    ]);
    expect(plan.images.map((each) => each.image)).toEqual([`plain@${PLAIN.image.root.digest}`]);
  });

  it('holds nothing of another repository that a list or a foreign layer of its own only names', async () => {
    const hub = await filledHub();
    const secret = image({ message: 'for another repository' });
    hub.add({ repository: 'acme/secret', tags: ['latest'], image: secret });
    const [layer = secret.config] = secret.layers;
    const foreign = { ...layer, mediaType: 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip' };
    const thief = image({ message: 'thief', foreignLayers: [foreign] });
    const { mediaType, digest, bytes: child } = secret.root;
    const entry = { mediaType, digest, size: child.length, platform: { os: 'linux', architecture: 'arm64' } };
    const own = { ...entry, digest: thief.root.digest, size: thief.root.bytes.length, platform: LINUX_AMD64 };
    const root = storedManifest(OCI_INDEX, { manifests: [own, entry] });
    hub.add({
      repository: 'acme/thief',
      tags: ['latest'],
      image: { ...thief, root, manifests: [root, ...thief.manifests] },
    });
    const app = await startTestApp({ hub });
    await pullWhole(app, 'acme/secret', { tags: ['latest'], image: secret });
    for (const reference of ['latest', thief.root.digest])
      expect((await app.get(`/v2/acme/thief/manifests/${reference}`)).status).toBe(200);
    for (const each of [thief.config, ...thief.layers]) {
      await app.get(`/v2/acme/thief/blobs/${each.digest}`);
      await storedAt(app, `/v2/acme/thief/blobs/${each.digest}`);
    }
    const { bytes, plan } = await exportFrom(app.dataDir, ['acme/thief'], { withForeign: true });
    expect(plan.images.map((each) => each.image)).toEqual(['acme/thief:latest']);
    const stolen = [digest, secret.config.digest, layer.digest];
    expect(held(bytes).filter((each) => stolen.some((one) => one === each))).toEqual([]);
    expect(held(bytes)).toContain(thief.root.digest);
  });

  it('is an image layout whose names skopeo, ctr and docker know', async () => {
    const app = await startTestApp({ hub: await filledHub() });
    await pullWhole(app, 'library/plain', PLAIN);
    const files = new Map(
      filesOf((await exportFrom(app.dataDir)).bytes).map(({ name, bytes }) => [name, bytes.toString()]),
    );
    expect([...files.keys()].slice(0, 4)).toEqual([
      'oci-layout',
      'index.json',
      'pierhead.json',
      'manifest.json',
    ]);
    expect(JSON.parse(files.get('oci-layout') ?? '')).toEqual({ imageLayoutVersion: '1.0.0' });
    expect(JSON.parse(files.get('index.json') ?? '')).toMatchObject({
      manifests: [
        {
          digest: PLAIN.image.root.digest,
          annotations: {
            'io.containerd.image.name': 'docker.io/library/plain:latest',
            'org.opencontainers.image.ref.name': 'docker.io/library/plain:latest',
          },
        },
      ],
    });
    const path = ({ digest }: { readonly digest: Digest }): string =>
      digest.replace('sha256:', 'blobs/sha256/');
    expect(JSON.parse(files.get('manifest.json') ?? '')).toEqual([
      {
        Config: path(PLAIN.image.config),
        RepoTags: ['docker.io/library/plain:latest'],
        Layers: PLAIN.image.layers.map(path),
      },
    ]);
  });

  it.each(['application/octet-stream', 'text/html', ''])(
    'has for docker load an image whose config is of the type %j, as Docker 1.10 pushed such',
    async (configType) => {
      const hub = await filledHub();
      const old = { tags: ['1'], image: image({ mediaTypes: 'docker', configType }) };
      hub.add({ repository: 'library/old', ...old });
      const app = await startTestApp({ hub });
      await pullWhole(app, 'library/old', old);
      const { bytes } = await exportFrom(app.dataDir, ['old:1']);
      const forDocker = filesOf(bytes).find(({ name }) => name === 'manifest.json');
      expect(JSON.parse(forDocker?.bytes.toString() ?? '[]')).toMatchObject([
        { RepoTags: ['docker.io/library/old:1'] },
      ]);
    },
  );

  it('has a list as it is, with what is whole of it and the attestations of that', async () => {
    const app = await startTestApp({ hub: await filledHub() });
    await pullAmd64(app);
    const { bytes, plan } = await exportFrom(app.dataDir, ['golang']);
    const amd64 = digestsOf(GOLANG.image, 'linux/amd64');
    const attestation = attestationOf(GOLANG.image, 'linux/amd64');
    expect(plan.images).toEqual([
      { image: 'golang:latest', digest: GOLANG.image.root.digest, platforms: ['linux/amd64'] },
    ]);
    expect(plan.lacking).toEqual([]);
    const statement = GOLANG.image.manifests.find(({ digest }) => digest === attestation);
    expect(held(bytes)).toEqual(
      [...amd64.manifests, ...amd64.blobs, attestation, ...blobsNamedBy(statement?.bytes)].sort(),
    );
    const list = filesOf(bytes).find(({ name }) => name.endsWith(GOLANG.image.root.digest.slice(7)));
    expect(list?.bytes.equals(GOLANG.image.root.bytes)).toBe(true);
  });

  it('says what is missing for platforms that are asked for', async () => {
    const app = await startTestApp({ hub: await filledHub() });
    await pullAmd64(app);
    const { plan } = await exportFrom(app.dataDir, ['golang', 'plain'], {
      audience: platforms('linux/amd64', 'linux/arm64', 'linux/riscv64'),
    });
    const arm64 = GOLANG.image.images.get('linux/arm64/v8')?.root.digest;
    expect(plan.lacking).toEqual([
      {
        image: 'golang:latest',
        lacks: ['no manifest for linux/riscv64', `linux/arm64/v8: ${arm64}: not cached`],
      },
      { image: 'plain:latest', lacks: ['the tag is not cached'] },
    ]);
    expect(plan.images).toMatchObject([{ image: 'golang:latest', platforms: ['linux/amd64'] }]);
  });

  it('leaves out images that lack a blob', async () => {
    const app = await startTestApp({ hub: await filledHub() });
    await app.get('/v2/library/plain/manifests/latest');
    await pullWhole(app, 'library/golang', GOLANG);
    const { plan } = await exportFrom(app.dataDir);
    expect(plan.images.map((each) => each.image)).toEqual(['golang:1.22', 'golang:latest']);
    expect(plan.lacking).toMatchObject([{ image: 'plain:latest' }]);
    expect(plan.lacking[0]?.lacks[0]).toMatch(/^partial: sha256:\w+.* not cached$/);
  });

  it('leaves to the other side what it has', async () => {
    const app = await startTestApp({ hub: await filledHub() });
    await pullWhole(app, 'library/golang', GOLANG);
    const shared = image({ message: 'shared', layers: [opaqueLayer(bytesContent(Buffer.from('new')))] });
    const old = await exportFrom(app.dataDir, ['golang']);
    const has = new Set(old.plan.draft.blobs.map(({ digest }) => digest));
    const hub = await filledHub();
    hub.add({ repository: 'library/shared', tags: ['latest'], image: shared });
    const { plan } = await exportFrom(app.dataDir, ['golang'], { has });
    expect(plan.draft.blobs).toEqual([]);
    expect(plan.draft.base.map(({ digest }) => digest).sort()).toEqual([...has].sort());
    // Who takes no deltas would find nothing behind it.
    expect(plan.draft.docker).toEqual([]);
  });

  it('names foreign layers, and holds those that are stored if it is asked to', async () => {
    const foreign: Content = bytesContent(Buffer.from('a base layer of Windows'));
    const base = {
      mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
      digest: foreign.digest,
      size: foreign.size,
      urls: ['https://mcr.example/base'],
    };
    const windows = image({ platform: WINDOWS_AMD64, foreignLayers: [base], mediaTypes: 'docker' });
    const hub = await filledHub();
    hub.add({ repository: 'library/windows', tags: ['latest'], image: windows });
    const app = await startTestApp({ hub });
    await pullWhole(app, 'library/windows', { tags: ['latest'], image: windows });
    const without = await exportFrom(app.dataDir, ['windows']);
    expect(without.plan.lacking).toEqual([]);
    expect(without.plan.foreign).toEqual([
      { image: 'windows:latest', digest: foreign.digest, size: foreign.size },
    ]);
    const asked = await exportFrom(app.dataDir, ['windows'], { withForeign: true });
    expect(asked.plan.lacking).toMatchObject([{ lacks: [`foreign layer ${foreign.digest} is not cached`] }]);
    hub.addBlob('library/windows', foreign);
    await app.get(`/v2/library/windows/blobs/${foreign.digest}`);
    await storedAt(app, `/v2/library/windows/blobs/${foreign.digest}`);
    const whole = await exportFrom(app.dataDir, ['windows'], { withForeign: true });
    expect(whole.plan).toMatchObject({ lacking: [], foreign: [] });
    const next = await startTestApp({ hub: 'http://127.0.0.1:9', flags: { offline: true } });
    await importInto(next.dataDir, whole.bytes);
    const layer = await next.get(`/v2/library/windows/blobs/${foreign.digest}`);
    expect(layer.body.toString()).toBe('a base layer of Windows');
  });

  it('brings along the tags by which cosign signs', async () => {
    const hub = await filledHub();
    const tag = `${GOLANG.image.root.digest.replace(':', '-')}.sig`;
    const signature = { tags: [tag], image: image({ message: 'signature' }) };
    hub.add({ repository: 'library/golang', ...signature });
    const app = await startTestApp({ hub });
    await pullWhole(app, 'library/golang', GOLANG);
    await pullWhole(app, 'library/golang', signature);
    const { plan } = await exportFrom(app.dataDir, ['golang']);
    expect(plan.images.map((each) => each.image)).toEqual(['golang:latest', `golang:${tag}`]);
  });

  it('has a tag once, though a lock names what it was before it moved too', async () => {
    const hub = await filledHub();
    let now = Date.now();
    const app = await startTestApp({ hub, now: () => now });
    await pullWhole(app, 'library/golang', GOLANG);
    const moved = { tags: ['latest'], image: multiPlatform({ message: 'moved', platforms: [LINUX_AMD64] }) };
    hub.add({ repository: 'library/golang', ...moved });
    now += 61_000;
    await pullWhole(app, 'library/golang', moved);
    const names = [`golang:latest@${GOLANG.image.root.digest}`, `golang:latest@${moved.image.root.digest}`];
    for (const order of [names, names.toReversed()]) {
      const { plan } = await exportFrom(app.dataDir, order);
      expect(plan.images.map((each) => each.image)).toEqual([
        'golang:latest',
        `golang@${GOLANG.image.root.digest}`,
      ]);
      expect(plan.images[0]?.digest).toBe(moved.image.root.digest);
    }
  });

  it('is not finished if a blob goes while it is being written, and says which', async () => {
    const hub = await filledHub();
    const [first, last] = [51, 52].map((seed) => bigBlob({ size: 2 * MIB, seed }).content);
    if (first === undefined || last === undefined) throw new Error('there are two');
    const large = {
      tags: ['v1'],
      image: image({ message: 'large', layers: [opaqueLayer(first), opaqueLayer(last)] }),
    };
    hub.add({ repository: 'acme/large', ...large });
    const app = await startTestApp({ hub });
    await pullWhole(app, 'acme/large', large);
    const args = [MAIN, 'export', '-o', '-', 'acme/large:v1', '--data-dir', app.dataDir];
    const command = launch({ program: process.execPath, args });
    // Nobody reads more of it for now, so it waits somewhere in the first blob.
    await once(command.stdout, 'readable');
    await rm(blobPath(app.dataDir, last.digest));
    const [bytes, told] = await Promise.all([buffer(command.stdout), textOf(command.stderr)]);
    expect(bytes.length).toBeLessThan(last.size * 2);
    expect(command.exitCode ?? (await once(command, 'exit'))[0]).toBe(1);
    expect(told).toContain(`${last.digest} was removed from the cache during the export`);
  });

  it('is not finished with a blob that has rotted', async () => {
    const app = await startTestApp({ hub: await filledHub() });
    await pullWhole(app, 'library/plain', PLAIN);
    const digest = PLAIN.image.layers[0]?.digest ?? digestOf(Buffer.alloc(0));
    await rot(app.dataDir, digest);
    await expect(exportFrom(app.dataDir)).rejects.toMatchObject({ code: 'changed' });
    await rm(blobPath(app.dataDir, digest));
    expect((await exportFrom(app.dataDir)).plan.images).toEqual([]);
  });
});
