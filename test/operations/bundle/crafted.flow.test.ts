import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { digestMatches, digestOf } from '../../../src/oci/digest.ts';
import { blobPath } from '../../../src/store/part/layout.ts';
import type { ImageContent } from '../../fake/library.ts';
import { image } from '../../fixtures/images.ts';
import { opaqueLayer } from '../../fixtures/tar.ts';
import { startTestApp, type TestApp, type TestAppOptions } from '../../support/app.ts';
import { bigBlob, MIB } from '../../support/big-blob.ts';
import { archiveOf, exportFrom, filesOf, importInto, type ArchiveFile } from '../../support/bundles.ts';
import { filledHub, PLAIN } from '../../support/filled-hub.ts';
import { pullWhole } from '../../support/pulls.ts';
import { storedBytes } from '../../support/stored-files.ts';

const NOWHERE = 'http://127.0.0.1:9';
const TARGET = '/v2/library/plain/manifests/latest';

const siteB = (options: Partial<TestAppOptions> = {}): Promise<TestApp> =>
  startTestApp({ hub: NOWHERE, ...options, flags: { offline: true, ...options.flags } });

async function bundleOf(): Promise<Buffer> {
  const app = await startTestApp({ hub: await filledHub() });
  await pullWhole(app, 'library/plain', PLAIN);
  return (await exportFrom(app.dataDir, ['plain'])).bytes;
}

interface Told {
  readonly blobs: readonly { readonly digest: string; readonly size: number }[];
}

/** The bundle as somebody who has no key could make it anew: with other contents, which its index names. */
function craft(
  bundle: Buffer,
  change: (told: Told) => object,
  files: (all: ArchiveFile[]) => ArchiveFile[] = (all) => all,
  rename: (index: string) => string = (index) => index,
): Buffer {
  const all = filesOf(bundle);
  const told = JSON.parse(all.find(({ name }) => name === 'pierhead.json')?.bytes.toString() ?? '') as Told;
  const contents = Buffer.from(JSON.stringify({ ...told, ...change(told) }));
  const crafted = all.map((file) => {
    if (file.name === 'pierhead.json') return { ...file, bytes: contents };
    if (file.name !== 'index.json') return file;
    const index = file.bytes.toString().replace(/(contents":")sha256:\w+/, `$1${digestOf(contents)}`);
    return { ...file, bytes: Buffer.from(rename(index)) };
  });
  return archiveOf(files(crafted));
}

/** Every blob is stored as it should be. */
async function expectStored({ dataDir }: TestApp, { blobs }: ImageContent): Promise<void> {
  for (const { digest } of blobs) {
    const bytes = await storedBytes(dataDir, digest);
    expect(bytes !== undefined && digestMatches(digest, bytes)).toBe(true);
  }
}

async function expectNothing(app: TestApp): Promise<void> {
  expect(JSON.parse((await app.get('/v2/_catalog')).body.toString())).toEqual({ repositories: [] });
  expect((await app.get(TARGET)).status).toBe(503);
  expect(await readdir(join(app.dataDir, 'parts'))).toEqual([]);
}

/** Made by the first test that needs it. */
let made: Promise<Buffer> | undefined;
const plainBundle = (): Promise<Buffer> => (made ??= bundleOf());

describe('a bundle that somebody has made by hand', () => {
  it('does not get what is cached by naming it: each blob that it says it holds is read', async () => {
    const bundle = await plainBundle();
    const app = await siteB();
    await importInto(app.dataDir, bundle);
    const [last] = filesOf(bundle).slice(-1);
    const renamed = craft(
      bundle,
      () => ({}),
      (files) => [
        ...files.slice(0, -1),
        { name: last?.name ?? '', bytes: Buffer.alloc(last?.bytes.length ?? 0) },
      ],
      (index) => index.replaceAll('library/plain', 'acme/thief'),
    );
    await expect(importInto(app.dataDir, renamed)).rejects.toThrow(
      /its bytes for sha256:\w+ have another digest/,
    );
    expect((await app.get('/v2/acme/thief/manifests/latest')).status).toBe(503);
    await expectStored(app, PLAIN.image);
  });

  it('may hold a blob twice', async () => {
    const bundle = await plainBundle();
    const app = await siteB();
    const twice = craft(
      bundle,
      ({ blobs }) => ({ blobs: [...blobs, ...blobs] }),
      (files) => [...files, ...files.slice(-PLAIN.image.blobs.length)],
    );
    await importInto(app.dataDir, twice);
    await expectStored(app, PLAIN.image);
    expect((await app.get(TARGET)).status).toBe(200);
    expect(await readdir(join(app.dataDir, 'parts'))).toEqual([]);
  });

  it.each([
    [Number.MAX_SAFE_INTEGER, /would hold \d+ bytes, more than \d+/],
    [2 ** 60, 'is not a size'],
    [-1, 'is not a size'],
    [1.5, 'is not a size'],
    ['1', 'is not a size'],
    [1, /bytes in the archive, and 1 in pierhead.json/],
  ])('is refused if it says that a blob has %s bytes', async (size, reason) => {
    const bundle = await plainBundle();
    const app = await siteB();
    const crafted = craft(bundle, ({ blobs }) => ({ blobs: blobs.map((blob) => ({ ...blob, size })) }));
    await expect(importInto(app.dataDir, crafted)).rejects.toThrow(reason);
    await expectNothing(app);
  });

  it.each([
    '../../etc/passwd:latest',
    'docker.io/library/../plain:latest',
    'docker.io/library/Plain:latest',
    'docker.io/library/plain:..%2f',
    `docker.io/${'long/'.repeat(60)}plain:latest`,
    `docker.io/library/plain@sha256:${'0'.repeat(64)}`,
    '',
  ])('is refused if an image in it is called %j', async (name) => {
    const bundle = await plainBundle();
    const app = await siteB();
    const rename = (index: string): string => index.replaceAll('docker.io/library/plain:latest', name);
    const crafted = craft(
      bundle,
      () => ({}),
      (files) => files,
      rename,
    );
    await expect(importInto(app.dataDir, crafted)).rejects.toThrow('nothing imported');
    await expectNothing(app);
  });

  it.each(['blobs/sha256/../../../x', '/etc/passwd', 'pierhead.json', 'blobs/sha256/'])(
    'is refused if a file in it is called %s',
    async (name) => {
      const bundle = await plainBundle();
      const app = await siteB();
      const files = filesOf(bundle);
      const crafted = archiveOf(
        files.map((file, at) => (at === files.length - 1 ? { ...file, name } : file)),
      );
      await expect(importInto(app.dataDir, crafted)).rejects.toThrow(`"${name}" is in the place of`);
      await expectNothing(app);
    },
  );

  it('is refused if it lacks a blob of its image that it does not even speak of', async () => {
    const bundle = await plainBundle();
    const app = await siteB();
    const crafted = craft(
      bundle,
      ({ blobs }) => ({ blobs: blobs.slice(0, -1) }),
      (files) => files.slice(0, -1),
    );
    await expect(importInto(app.dataDir, crafted)).rejects.toThrow('which pierhead.json does not list');
    await expectNothing(app);
  });
});

const LAYERS = (seed: number) =>
  [seed, seed + 1].map((each) => opaqueLayer(bigBlob({ size: 1.5 * MIB, seed: each }).content));
const OLD = { tags: ['v1'], image: image({ message: 'old', layers: LAYERS(91) }) };
const NEW = { tags: ['v1'], image: image({ message: 'new', layers: LAYERS(95) }) };

async function hubWithBoth() {
  const hub = await filledHub();
  hub.add({ repository: 'acme/old', ...OLD });
  hub.add({ repository: 'acme/new', ...NEW });
  return hub;
}

async function bundleOfNew(): Promise<Buffer> {
  const app = await startTestApp({ hub: await hubWithBoth() });
  await pullWhole(app, 'acme/new', NEW);
  return (await exportFrom(app.dataDir, ['acme/new:v1'])).bytes;
}

describe('a cache that is nearly full', () => {
  it('takes a bundle in the place of what is not pinned', async () => {
    const bytes = await bundleOfNew();
    let now = Date.now();
    const app = await startTestApp({
      hub: await hubWithBoth(),
      flags: { cacheSize: '6MiB' },
      now: () => now,
    });
    await pullWhole(app, 'acme/old', OLD);
    // What was pulled this very moment is needed still.
    now += 60_000;
    await importInto(app.dataDir, bytes);
    await expectStored(app, NEW.image);
    const kept = await Promise.all(OLD.image.blobs.map(({ digest }) => storedBytes(app.dataDir, digest)));
    expect(kept).toContain(undefined);
  });

  it('takes none in the place of what is pinned, and loses nothing by it', async () => {
    const bytes = await bundleOfNew();
    const first = await startTestApp({ hub: await hubWithBoth() });
    await pullWhole(first, 'acme/old', OLD);
    const other = (await exportFrom(first.dataDir, ['acme/old:v1'])).bytes;
    const app = await siteB({ flags: { cacheSize: '6MiB' } });
    await importInto(app.dataDir, other);
    await expect(importInto(app.dataDir, bytes)).rejects.toThrow(/pins with this bundle would hold/);
    expect((await app.get('/v2/acme/old/manifests/v1')).status).toBe(200);
    expect((await app.get('/v2/acme/new/manifests/v1')).status).toBe(503);
    await expectStored(app, OLD.image);
  });
});

describe('images of other registries', () => {
  const yaml = (url: string): string => `upstreams:\n  ghcr.io: { url: "${url}" }\n`;

  it('are served under their own names, or are said to be served to nobody', async () => {
    const hub = await hubWithBoth();
    const source = await startTestApp({ hub, yaml: yaml(hub.url) });
    await pullWhole(source, 'ghcr.io/acme/new', NEW);
    const { bytes } = await exportFrom(source.dataDir, ['ghcr.io/acme/new:v1']);
    const app = await siteB({ yaml: yaml(NOWHERE) });
    expect((await importInto(app.dataDir, bytes)).unservedHosts).toEqual([]);
    for (const target of ['/v2/ghcr.io/acme/new/manifests/v1', '/v2/acme/new/manifests/v1?ns=ghcr.io']) {
      expect((await app.get(target)).body.equals(NEW.image.root.bytes)).toBe(true);
    }
    // The same name at Docker Hub is another image.
    expect((await app.get('/v2/acme/new/manifests/v1')).status).toBe(503);
    const hubOnly = await siteB();
    expect((await importInto(hubOnly.dataDir, bytes)).unservedHosts).toEqual(['ghcr.io']);
    expect((await hubOnly.get('/v2/acme/new/manifests/v1?ns=ghcr.io')).status).toBe(404);
  });
});

describe('a delta for a site that has lost something since', () => {
  it('is refused with what that is, and taken once it is back', async () => {
    const source = await startTestApp({ hub: await hubWithBoth() });
    await pullWhole(source, 'acme/new', NEW);
    await pullWhole(source, 'acme/old', OLD);
    const first = await exportFrom(source.dataDir, ['acme/old:v1']);
    const has = new Set(first.plan.draft.blobs.map(({ digest }) => digest));
    const delta = await exportFrom(source.dataDir, ['acme/old:v1', 'acme/new:v1'], { has });
    const app = await siteB();
    await importInto(app.dataDir, first.bytes);
    const [lost] = OLD.image.layers;
    if (lost === undefined) throw new Error('it has no layers');
    await rm(blobPath(app.dataDir, lost.digest));
    await expect(importInto(app.dataDir, delta.bytes)).rejects.toThrow(`not cached: ${lost.digest}`);
    expect((await app.get('/v2/acme/new/manifests/v1')).status).toBe(503);
    await importInto(app.dataDir, first.bytes);
    await importInto(app.dataDir, delta.bytes);
    await expectStored(app, NEW.image);
    await expectStored(app, OLD.image);
  });
});

describe('while a bundle comes', () => {
  it('clients pull the same image from upstream, and both have it', async () => {
    const bytes = await bundleOfNew();
    const app = await startTestApp({ hub: await hubWithBoth() });
    const pulls = [0, 1, 2].map(() => pullWhole(app, 'acme/new', NEW));
    await Promise.all([importInto(app.dataDir, bytes), ...pulls]);
    await expectStored(app, NEW.image);
    expect(await readdir(join(app.dataDir, 'parts'))).toEqual([]);
  });

  it('a second one waits for nobody and is told so, and its next attempt finds everything there', async () => {
    const bytes = await bundleOfNew();
    const app = await siteB();
    const both = await Promise.allSettled([importInto(app.dataDir, bytes), importInto(app.dataDir, bytes)]);
    const refused = both.flatMap((each) => (each.status === 'rejected' ? [String(each.reason)] : []));
    expect(refused).toEqual([expect.stringContaining('another import is running; try again later')]);
    const { stored, known } = await importInto(app.dataDir, bytes);
    expect(stored.blobs).toBe(0);
    expect(known.blobs).toBe(NEW.image.blobs.length);
  });
});
