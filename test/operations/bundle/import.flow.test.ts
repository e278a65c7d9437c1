import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readImages } from '../../../src/app/app.ts';
import { deferred } from '../../../src/lib/promises.ts';
import { digestMatches, parseDigest } from '../../../src/oci/digest.ts';
import { OCI_INDEX } from '../../../src/oci/media-types.ts';
import type { ImageEntry } from '../../../src/store/images.ts';
import type { ImageContent } from '../../fake/library.ts';
import { image } from '../../fixtures/images.ts';
import { opaqueLayer } from '../../fixtures/tar.ts';
import { blobPath } from '../../../src/store/part/layout.ts';
import { startTestApp, type TestApp, type TestAppOptions } from '../../support/app.ts';
import { bigBlob } from '../../support/big-blob.ts';
import {
  archiveOf,
  chunksOf,
  exportFrom,
  filesOf,
  importInto,
  signingKeys,
  type ArchiveFile,
} from '../../support/bundles.ts';
import { filledHub, GOLANG, PLAIN } from '../../support/filled-hub.ts';
import { pullWhole } from '../../support/pulls.ts';
import { storedBytes } from '../../support/stored-files.ts';
import { eventually } from '../../support/wait.ts';

/** Nobody listens there. */
const NOWHERE = 'http://127.0.0.1:9';
const LAYERS = [61, 62, 63].map((seed) => opaqueLayer(bigBlob({ size: 320_000, seed }).content));
const LARGE = { tags: ['v1'], image: image({ message: 'large', layers: LAYERS }) };

/** A site that has pulled golang for all platforms, and an image of some layers. */
async function siteA(): Promise<TestApp> {
  const hub = await filledHub();
  hub.add({ repository: 'acme/large', ...LARGE });
  const app = await startTestApp({ hub });
  await pullWhole(app, 'library/golang', GOLANG);
  await pullWhole(app, 'acme/large', LARGE);
  return app;
}

/** A site that asks nobody. */
const siteB = (options: Partial<TestAppOptions> = {}): Promise<TestApp> =>
  startTestApp({ hub: NOWHERE, ...options, flags: { offline: true, ...options.flags } });

/** Bundles of site A that a test has made; the next one need not. */
const made = new Map<string, Buffer>();

async function bundleOf(...names: string[]): Promise<Buffer> {
  const key = names.join(' ');
  const bytes = made.get(key) ?? (await exportFrom((await siteA()).dataDir, names)).bytes;
  made.set(key, bytes);
  return bytes;
}

/** Every manifest and blob of the image goes out byte for byte. */
async function expectServed(
  app: TestApp,
  repository: string,
  {
    image: content,
    tags,
  }: {
    readonly image: ImageContent;
    readonly tags: readonly string[];
  },
): Promise<void> {
  const path = `/v2/${repository}`;
  for (const tag of tags) {
    const answer = await app.get(`${path}/manifests/${tag}`);
    expect(answer.header('docker-content-digest')).toBe(content.root.digest);
    expect(answer.body.equals(content.root.bytes)).toBe(true);
  }
  for (const { digest, bytes } of content.manifests) {
    expect((await app.get(`${path}/manifests/${digest}`)).body.equals(bytes)).toBe(true);
  }
  for (const { digest, size } of content.blobs) {
    const answer = await app.get(`${path}/blobs/${digest}`);
    expect(answer.status).toBe(200);
    expect(answer.bodyBytes).toBe(size);
    expect(digestMatches(digest, answer.body)).toBe(true);
  }
}

/** Nothing of any image can be had, and every file that is kept is what it is called. */
async function expectNothingVisible(app: TestApp): Promise<void> {
  const catalogue = JSON.parse((await app.get('/v2/_catalog')).body.toString()) as unknown;
  expect(catalogue).toEqual({ repositories: [] });
  for (const [repository, { image: content, tags }] of [
    ['library/golang', GOLANG],
    ['acme/large', LARGE],
  ] as const) {
    expect((await app.get(`/v2/${repository}/manifests/${tags[0]}`)).status).toBe(503);
    for (const { digest } of content.manifests) {
      expect((await app.get(`/v2/${repository}/manifests/${digest}`)).status).toBe(503);
    }
  }
  expect(await readdir(join(app.dataDir, 'parts'))).toEqual([]);
  const root = join(app.dataDir, 'blobs', 'sha256');
  for (const prefix of await readdir(root).catch(() => [])) {
    for (const name of await readdir(join(root, prefix))) {
      const digest = parseDigest(`sha256:${name}`);
      if (digest === undefined) throw new Error(`what is ${name}?`);
      const bytes = await storedBytes(app.dataDir, digest);
      expect(bytes !== undefined && digestMatches(digest, bytes)).toBe(true);
    }
  }
}

/** What is told of all that is pinned. */
async function pinned(
  { dataDir }: TestApp,
  told: (entry: ImageEntry) => readonly string[],
): Promise<string[]> {
  const all: string[] = [];
  for await (const entry of readImages(dataDir)) if (entry.isPinned) all.push(...told(entry));
  return all;
}

/** Resolves when the last blob of a bundle of everything is coming in. */
async function lastPart({ dataDir }: TestApp): Promise<void> {
  const last = LAYERS.at(-1)?.content.digest ?? '';
  const isThere = async (): Promise<boolean> => {
    const parts = await readdir(join(dataDir, 'parts'));
    return parts.length === 1 && parts[0]?.startsWith(last) === true;
  };
  await eventually(isThere, 'the part of the last blob');
}

const isBlobFile = ({ name }: ArchiveFile): boolean => name.startsWith('blobs/');

/** The archive with one of its files changed. */
function changed(bundle: Buffer, which: (file: ArchiveFile, at: number) => boolean): Buffer {
  const files = filesOf(bundle);
  const at = files.findLastIndex((file, place) => which(file, place));
  return archiveOf(
    files.map((file, place) => {
      if (place !== at) return file;
      const bytes = Buffer.from(file.bytes);
      const middle = Math.floor(bytes.length / 2);
      bytes.writeUInt8(bytes.readUInt8(middle) ^ 1, middle);
      return { ...file, bytes };
    }),
  );
}

describe('what a bundle has brought', () => {
  it('is served offline at once, by tag and by digest, byte for byte, all of it or nothing', async () => {
    const bundle = await bundleOf();
    const app = await siteB();
    const summary = await importInto(app.dataDir, bundle);
    expect(summary).toMatchObject({
      images: [
        { image: 'acme/large:v1', digest: LARGE.image.root.digest },
        { image: 'golang:1.22', digest: GOLANG.image.root.digest },
        { image: 'golang:latest', digest: GOLANG.image.root.digest },
      ],
      manifests: GOLANG.image.manifests.length + LARGE.image.manifests.length,
      known: { blobs: 0, bytes: 0 },
      signature: 'none',
      isPinned: true,
      unservedHosts: [],
    });
    await expectServed(app, 'library/golang', GOLANG);
    await expectServed(app, 'acme/large', LARGE);
    expect((await app.get('/v2/library/golang/manifests/latest')).header('cache-status')).toBe(
      'pierhead; hit',
    );
  });

  it('has the type that its bytes say, whatever index.json says', async () => {
    const files = filesOf(await bundleOf('golang:latest')).map((file) => {
      if (file.name !== 'index.json') return file;
      const text = file.bytes.toString();
      const end = text.indexOf('"annotations"');
      const lied = text
        .slice(0, end)
        .replaceAll(OCI_INDEX, 'text/html')
        .replace(/"size":\d+/, '"size":1');
      return { ...file, bytes: Buffer.from(lied + text.slice(end)) };
    });
    const app = await siteB();
    await importInto(app.dataDir, archiveOf(files));
    const answer = await app.head('/v2/library/golang/manifests/latest');
    expect(answer.header('content-type')).toBe(OCI_INDEX);
    expect(answer.header('content-length')).toBe(String(GOLANG.image.root.bytes.length));
  });

  it('is there after a restart', async () => {
    const bundle = await bundleOf();
    const before = await siteB();
    await importInto(before.dataDir, bundle);
    await before.stop();
    await expectServed(await siteB({ dataDir: before.dataDir }), 'library/golang', GOLANG);
  });

  it('is served although the same was asked for in vain a moment before', async () => {
    const bundle = await bundleOf();
    const hub = await filledHub();
    hub.removeRepository('library/golang');
    const app = await startTestApp({ hub });
    expect((await app.get('/v2/library/golang/manifests/latest')).status).toBe(404);
    await importInto(app.dataDir, bundle);
    expect((await app.get('/v2/library/golang/manifests/latest')).status).toBe(200);
  });

  it('is invisible until all of it is there', async () => {
    const bundle = await bundleOf();
    const app = await siteB();
    const gate = deferred<void>();
    const sent = deferred<void>();
    const held = (async function* () {
      yield* chunksOf(bundle.subarray(0, -10));
      sent.resolve();
      await gate.promise;
      yield bundle.subarray(-10);
    })();
    const importing = importInto(app.dataDir, held);
    await sent.promise;
    await eventually(
      () => storedBytes(app.dataDir, LAYERS[0]?.content.digest ?? GOLANG.image.root.digest),
      'a blob',
    );
    expect((await app.get('/v2/library/golang/manifests/latest')).status).toBe(503);
    await expect(importInto(app.dataDir, bundle)).rejects.toThrow(
      'another import is running; try again later',
    );
    gate.resolve();
    await importing;
    await expectServed(app, 'library/golang', GOLANG);
  });

  it('is checked like any other tag where upstream answers, and moves with it', async () => {
    const bundle = await bundleOf('golang');
    const hub = await filledHub();
    let now = Date.now();
    const app = await startTestApp({ hub, now: () => now });
    await importInto(app.dataDir, bundle);
    expect((await app.get('/v2/library/golang/manifests/latest')).header('cache-status')).toBe(
      'pierhead; hit',
    );
    expect(hub.requests).toEqual([]);
    const moved = image({ message: 'moved' });
    hub.add({ repository: 'library/golang', tags: ['latest'], image: moved });
    now += 61_000;
    const answer = await app.get('/v2/library/golang/manifests/latest');
    expect(answer.header('docker-content-digest')).toBe(moved.root.digest);
  });

  it('is public to those who are served, also what upstream showed to credentials alone', async () => {
    const hub = await filledHub();
    const credentials = { PIERHEAD_UPSTREAM_USERNAME: 'carol', PIERHEAD_UPSTREAM_PASSWORD: 'secret' };
    const yaml = 'upstreams: { docker.io: { private: [carol/*] } }';
    const first = await startTestApp({ hub, env: credentials, yaml });
    await pullWhole(first, 'carol/private', PLAIN);
    const { bytes } = await exportFrom(first.dataDir, ['carol/private']);
    const app = await siteB({ env: credentials });
    expect((await app.get('/v2/carol/private/manifests/latest')).status).toBe(503);
    await importInto(app.dataDir, bytes);
    await expectServed(app, 'carol/private', PLAIN);
  });

  it('opens no private repository that it names where upstream can be asked', async () => {
    const hub = await filledHub();
    hub.add({ repository: 'dave/mine', tags: ['latest'], image: PLAIN.image });
    const first = await startTestApp({ hub });
    await pullWhole(first, 'dave/mine', PLAIN);
    const { bytes } = await exportFrom(first.dataDir, ['dave/mine']);
    const env = { PIERHEAD_UPSTREAM_USERNAME: 'carol', PIERHEAD_UPSTREAM_PASSWORD: 'secret' };
    const victim = await filledHub();
    victim.add({ repository: 'dave/mine', tags: ['latest', 'other'], image: image(), readers: ['carol'] });
    const app = await startTestApp({ hub: victim, env });
    await importInto(app.dataDir, bytes);
    for (const reference of ['other', image().root.digest, 'latest'])
      expect((await app.get(`/v2/dave/mine/manifests/${reference}`)).status, reference).toBe(404);
    expect(victim.requests.filter(({ identity }) => identity === 'carol')).toEqual([]);
  });

  it('includes what refers to its manifests, with the list that says so', async () => {
    const hub = await filledHub();
    const signature = image({ message: 'signature' });
    hub.add({ repository: 'library/golang', tags: [], image: signature });
    const entry = {
      mediaType: signature.root.mediaType,
      digest: signature.root.digest,
      size: signature.root.bytes.length,
    };
    hub.setReferrers('library/golang', GOLANG.image.root.digest, [
      { ...entry, artifactType: 'application/x.sig' },
    ]);
    const first = await startTestApp({ hub });
    await pullWhole(first, 'library/golang', GOLANG);
    const target = `/v2/library/golang/referrers/${GOLANG.image.root.digest}`;
    const list = await first.get(target);
    await pullWhole(first, 'library/golang', { tags: [], image: signature });
    const { bytes } = await exportFrom(first.dataDir, ['golang']);
    const app = await siteB();
    expect((await app.get(target)).body.toString()).toContain('"manifests":[]');
    await importInto(app.dataDir, bytes);
    expect((await app.get(target)).body.equals(list.body)).toBe(true);
    expect(await pinned(app, ({ digest }) => [digest])).toContain(signature.root.digest);
    await expectServed(app, 'library/golang', { tags: [], image: signature });
  });

  it('is pinned, unless the settings or the request say otherwise', async () => {
    const bundle = await bundleOf('golang:latest');
    const app = await siteB({ flags: { importPins: false } });
    expect((await importInto(app.dataDir, bundle)).isPinned).toBe(false);
    expect(await pinned(app, ({ tags }) => tags)).toEqual([]);
    expect((await importInto(app.dataDir, bundle, { pin: true })).isPinned).toBe(true);
    expect(await pinned(app, ({ tags }) => tags)).toEqual(['latest']);
  });
});

describe('a bundle that is not right', () => {
  const faults: readonly (readonly [string, (bundle: Buffer) => Buffer, string | RegExp])[] = [
    ['is empty', () => Buffer.alloc(0), 'cut short'],
    ['is something else', () => Buffer.alloc(5000, 'x'), 'not the beginning of a bundle'],
    [
      'is an archive of something else',
      () => archiveOf([{ name: 'a', bytes: Buffer.from('b') }]),
      'begins with "a"',
    ],
    ['is cut short in its first file', (bundle) => bundle.subarray(0, 520), 'cut short'],
    ['is cut short among its manifests', (bundle) => bundle.subarray(0, 8000), 'cut short'],
    ['is cut short in a blob', (bundle) => bundle.subarray(0, -200_000), 'cut short'],
    [
      'is cut short between two blobs',
      (bundle) => archiveOf(filesOf(bundle).slice(0, -1)).subarray(0, -1024),
      'cut short',
    ],
    ['lacks its end', (bundle) => bundle.subarray(0, -1024), 'cut short'],
    ['lacks half of its end', (bundle) => bundle.subarray(0, -512), 'cut short'],
    ['lacks its last blob', (bundle) => archiveOf(filesOf(bundle).slice(0, -1)), 'ends before blobs/sha256/'],
    [
      'has a blob of other bytes',
      (bundle) => changed(bundle, isBlobFile),
      /is damaged: its bytes for sha256:/,
    ],
    [
      'has a manifest of other bytes',
      (bundle) => changed(bundle, (file) => file.bytes.includes('"schemaVersion"') && isBlobFile(file)),
      /blobs\/sha256\/\w+ is damaged/,
    ],
    [
      'has other contents',
      (bundle) => changed(bundle, ({ name }) => name === 'pierhead.json'),
      'pierhead.json is damaged',
    ],
    [
      'has another list for docker',
      (bundle) => changed(bundle, ({ name }) => name === 'manifest.json'),
      'manifest.json is damaged',
    ],
    [
      'has two blobs in each other’s place',
      (bundle) => {
        const files = filesOf(bundle);
        return archiveOf([...files.slice(0, -2), ...files.slice(-2).toReversed()]);
      },
      /is in the place of blobs\/sha256\/\w+/,
    ],
    [
      'has its parts in another order',
      (bundle) =>
        Buffer.concat([bundle.subarray(0, 4096), bundle.subarray(400_384), bundle.subarray(4096, 400_384)]),
      'nothing imported',
    ],
    ['begins with its second part', (bundle) => bundle.subarray(400_000), 'not the beginning of a bundle'],
    [
      'is followed by something',
      (bundle) => Buffer.concat([bundle, Buffer.from('x')]),
      'data follows the end',
    ],
    ['is followed by itself', (bundle) => Buffer.concat([bundle, bundle]), 'data follows the end'],
    [
      'has a file more',
      (bundle) => archiveOf([...filesOf(bundle), { name: 'more', bytes: Buffer.from('x') }]),
      '"more" follows the last blob of pierhead.json',
    ],
    [
      'is of a later version',
      (bundle) =>
        archiveOf(
          filesOf(bundle).map((file) =>
            file.name === 'index.json'
              ? { ...file, bytes: Buffer.from(file.bytes.toString().replace('version":"1"', 'version":"2"')) }
              : file,
          ),
        ),
      'the bundle has version "2"',
    ],
  ];

  it.each(faults)(
    'that %s is refused with what is wrong, and nothing wrong is kept',
    async (_what, spoil, reason) => {
      const bundle = await bundleOf();
      const app = await siteB();
      await expect(importInto(app.dataDir, spoil(bundle))).rejects.toThrow(reason);
      await expectNothingVisible(app);
      // And the whole one is taken all the same.
      await importInto(app.dataDir, bundle);
      await expectServed(app, 'library/golang', GOLANG);
    },
  );

  it('whose sender goes away is forgotten, but for the blobs that had come', async () => {
    const bundle = await bundleOf();
    const app = await siteB();
    const ending = new AbortController();
    const sent = deferred<void>();
    const stalled = (async function* () {
      yield* chunksOf(bundle.subarray(0, -200_000));
      sent.resolve();
      await new Promise(() => undefined);
    })();
    const importing = importInto(app.dataDir, stalled, { signal: ending.signal });
    await sent.promise;
    await lastPart(app);
    ending.abort(new Error('interrupted'));
    await expect(importing).rejects.toThrow('interrupted');
    await eventually(
      async () => (await readdir(join(app.dataDir, 'parts'))).length === 0,
      'the part to be gone',
    );
    await expectNothingVisible(app);
    const { stored, known } = await importInto(app.dataDir, bundle);
    expect(known.blobs).toBeGreaterThan(0);
    expect(stored.blobs).toBeGreaterThan(0);
    await expectServed(app, 'acme/large', LARGE);
  });

  it('leaves its right blobs for the next attempt, which takes only the others', async () => {
    const bundle = await bundleOf();
    const app = await siteB();
    const total = filesOf(bundle).filter(isBlobFile).length - 2;
    await expect(importInto(app.dataDir, changed(bundle, isBlobFile))).rejects.toThrow(
      /\d+ blobs? kept for the next attempt/,
    );
    const { stored, known } = await importInto(app.dataDir, bundle);
    expect(stored.blobs).toBe(1);
    expect(known.blobs).toBeGreaterThan(10);
    expect(known.blobs).toBeLessThan(total);
  });
});

describe('who sends a bundle', () => {
  it('is told why it is refused, however much there is to come', async () => {
    const { publicKey } = signingKeys();
    const bundle = await bundleOf();
    const app = await siteB();
    const endless = (async function* () {
      yield bundle;
      for (;;) yield Buffer.alloc(1_000_000);
    })();
    await expect(importInto(app.dataDir, endless, { publicKey })).rejects.toThrow('the bundle is not signed');
    await expectNothingVisible(app);
  });

  it('is told that the server ends, which does not wait for the rest', async () => {
    const bundle = await bundleOf();
    const app = await siteB();
    const sent = deferred<void>();
    const stalled = (async function* () {
      yield* chunksOf(bundle.subarray(0, -200_000));
      sent.resolve();
      await new Promise(() => undefined);
    })();
    const importing = importInto(app.dataDir, stalled);
    importing.catch(() => undefined);
    await sent.promise;
    await lastPart(app);
    await app.stop();
    await expect(importing).rejects.toMatchObject({ code: 'stopped' });
    const next = await siteB({ dataDir: app.dataDir });
    await expectNothingVisible(next);
  });

  it('hears of what it cannot read itself', async () => {
    const app = await siteB();
    const broken = (async function* () {
      yield Buffer.alloc(10);
      throw new Error('the medium cannot be read');
    })();
    await expect(importInto(app.dataDir, broken)).rejects.toThrow('the medium cannot be read');
    expect((await importInto(app.dataDir, await bundleOf())).images).toHaveLength(3);
  });

  it('finds its import in the log', async () => {
    const app = await siteB();
    await importInto(app.dataDir, await bundleOf('golang:latest'));
    expect(app.log.find(({ msg }) => msg === 'bundle imported')).toMatchObject({
      images: ['golang:latest'],
      signature: 'none',
    });
  });
});

describe('a delta', () => {
  it('is taken where its base is, and refused with what is missing where it is not', async () => {
    const app = await siteA();
    const old = await exportFrom(app.dataDir, ['golang']);
    const has = new Set(old.plan.draft.blobs.map(({ digest }) => digest));
    const { bytes, plan } = await exportFrom(app.dataDir, [], { has });
    expect(plan.draft.blobs.map(({ digest }) => digest).sort()).toEqual(
      LARGE.image.blobs.map(({ digest }) => digest).sort(),
    );
    expect(plan.draft.base).toHaveLength(has.size);
    const empty = await siteB();
    await expect(importInto(empty.dataDir, bytes)).rejects.toThrow(
      new RegExp(`${has.size} of ${has.size} blobs that \`export --since\` left out are not cached: sha256:`),
    );
    await expectNothingVisible(empty);
    expect(await readdir(join(empty.dataDir, 'blobs')).catch(() => [])).toEqual([]);
    const next = await siteB();
    await importInto(next.dataDir, old.bytes);
    const first = old.plan.draft.blobs[0]?.digest;
    const removing = (async function* () {
      yield* chunksOf(bytes.subarray(0, -10));
      await eventually(
        () => storedBytes(next.dataDir, LAYERS[1]?.content.digest ?? LARGE.image.root.digest),
        'a blob',
      );
      if (first !== undefined) await rm(blobPath(next.dataDir, first));
      yield bytes.subarray(-10);
    })();
    await expect(importInto(next.dataDir, removing)).rejects.toThrow(
      `${first} was removed during the import`,
    );
    expect((await next.get('/v2/acme/large/manifests/v1')).status).toBe(503);
    await importInto(next.dataDir, old.bytes);
    const summary = await importInto(next.dataDir, bytes);
    expect(summary).toMatchObject({ stored: { blobs: 0 }, known: { blobs: LARGE.image.blobs.length } });
    await expectServed(next, 'library/golang', GOLANG);
    await expectServed(next, 'acme/large', LARGE);
  });
});

describe('where bundles must be signed', () => {
  it('one that is signed by the key is taken, and says so', async () => {
    const { key, publicKey } = signingKeys();
    const { bytes } = await exportFrom((await siteA()).dataDir, [], { key });
    const app = await siteB();
    expect((await importInto(app.dataDir, bytes, { publicKey })).signature).toBe('verified');
    await expectServed(app, 'library/golang', GOLANG);
  });

  it('a signature that nobody has checked is not said to be one', async () => {
    const { bytes } = await exportFrom((await siteA()).dataDir, ['golang'], { key: signingKeys().key });
    const nonsense = archiveOf(
      filesOf(bytes).map((file) =>
        file.name === 'index.json.sig' ? { ...file, bytes: Buffer.from('nonsense') } : file,
      ),
    );
    const app = await siteB();
    expect((await importInto(app.dataDir, nonsense)).signature).toBe('unchecked');
    await expect(importInto(app.dataDir, nonsense, { publicKey: signingKeys().publicKey })).rejects.toThrow(
      'signed by another key',
    );
  });

  it('one that is not signed, signed by another key, or renamed afterwards is refused before anything is written', async () => {
    const { key, publicKey } = signingKeys();
    const source = await siteA();
    const unsigned = await exportFrom(source.dataDir);
    const wrong = await exportFrom(source.dataDir, [], { key: signingKeys().key });
    const signed = await exportFrom(source.dataDir, [], { key });
    const renamed = archiveOf(
      filesOf(signed.bytes).map((file) =>
        file.name === 'index.json'
          ? { ...file, bytes: Buffer.from(file.bytes.toString().replaceAll('golang:1.22', 'golang:1.23')) }
          : file,
      ),
    );
    const app = await siteB();
    await expect(importInto(app.dataDir, unsigned.bytes, { publicKey })).rejects.toThrow(
      'the bundle is not signed',
    );
    for (const bytes of [wrong.bytes, renamed]) {
      await expect(importInto(app.dataDir, bytes, { publicKey })).rejects.toThrow('signed by another key');
    }
    await expectNothingVisible(app);
    expect(await readdir(join(app.dataDir, 'blobs')).catch(() => [])).toEqual([]);
    await expect(importInto(app.dataDir, signed.bytes, { publicKey: 'no key' })).rejects.toThrow(
      'not an Ed25519 public key',
    );
  });
});

describe('a bundle that is too large', () => {
  it('is refused before anything is written, if pins could not keep it', async () => {
    const bundle = await bundleOf('acme/large:v1');
    const app = await siteB({ flags: { cacheSize: '1MiB' } });
    await expect(importInto(app.dataDir, bundle)).rejects.toThrow(
      /pins with this bundle would hold \d+ bytes, more than 943718 \(90 % of cacheSize\)/,
    );
    await expectNothingVisible(app);
    expect(await readdir(join(app.dataDir, 'blobs')).catch(() => [])).toEqual([]);
  });
});
