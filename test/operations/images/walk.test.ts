import { describe, expect, it } from 'vitest';
import { manifestOf } from '../../../src/oci/manifest.ts';
import type { Digest } from '../../../src/oci/digest.ts';
import { OCI_INDEX } from '../../../src/oci/media-types.ts';
import { formatPlatform, parsePlatform, type Platform } from '../../../src/oci/platform.ts';
import { walkImage, type WalkOptions } from '../../../src/operations/images/walk.ts';
import { PullError } from '../../../src/mirror/answer/errors.ts';
import type { ImageContent, StoredManifest } from '../../fake/library.ts';
import {
  image,
  LINUX_AMD64,
  LINUX_ARM64,
  manifestDescriptor,
  multiPlatform,
  storedManifest,
  WINDOWS_AMD64,
} from '../../fixtures/images.ts';
import { absentEntry, entryOf, listOf } from '../../fixtures/lists.ts';

/** Reads out of what there is; undefined for what is not. */
function reading(manifests: readonly StoredManifest[]) {
  const read: Digest[] = [];
  return {
    read: (digest: Digest) => {
      read.push(digest);
      const found = manifests.find((each) => each.digest === digest);
      return Promise.resolve(found === undefined ? undefined : manifestOf(found));
    },
    asked: read,
  };
}

function closureOf(content: ImageContent, options: Partial<WalkOptions> = {}) {
  return walkImage(content.root.digest, { platforms: [], ...reading(content.manifests), ...options });
}

function platforms(...texts: readonly string[]): Platform[] {
  return texts.map((text) => parsePlatform(text) ?? { os: '', architecture: '' });
}

const digests = (each: readonly { readonly digest: Digest }[]) => each.map(({ digest }) => digest).sort();

describe('all that an image consists of', () => {
  it('is, of a plain image, its manifest, config and layers with their sizes', async () => {
    const plain = image();
    const closure = await closureOf(plain, { platforms: platforms('linux/arm64') });
    expect(closure.manifests).toMatchObject([
      { digest: plain.root.digest, role: 'image', size: plain.root.bytes.length },
    ]);
    expect(closure.blobs).toEqual(
      [plain.config, ...plain.layers].map(({ digest, mediaType, size }) => ({
        digest,
        mediaType,
        size,
      })),
    );
    expect(closure).toMatchObject({ missing: [], unmatched: [] });
  });

  it('is everything in a list, unless platforms are named', async () => {
    const list = multiPlatform();
    const closure = await closureOf(list);
    expect(digests(closure.manifests)).toEqual(digests(list.manifests));
    expect(digests(closure.blobs)).toEqual(digests(list.blobs));
    expect(closure.manifests[0]).toMatchObject({ digest: list.root.digest, role: 'index' });
  });

  it('is for platforms what they are served, with its attestations, and the list as it is', async () => {
    const list = multiPlatform();
    const source = reading(list.manifests);
    const closure = await walkImage(list.root.digest, {
      platforms: platforms('linux/arm64', 'linux/s390x'),
      ...source,
    });
    const arm = list.images.get('linux/arm64/v8');
    expect(closure.manifests.map(({ role }) => role)).toEqual(['index', 'image', 'attestation']);
    expect(closure.manifests[1]).toMatchObject({
      digest: arm?.root.digest,
      platform: { os: 'linux', architecture: 'arm64', variant: 'v8' },
    });
    expect(closure.manifests[2]?.subject).toBe(arm?.root.digest);
    expect(closure.blobs).toHaveLength(4);
    expect(closure.unmatched.map(formatPlatform)).toEqual(['linux/s390x']);
    // Nothing is read, and so fetched, that is not needed.
    expect(new Set(source.asked).size).toBe(3);
  });

  it('is once what several platforms share', async () => {
    const list = multiPlatform();
    const closure = await closureOf(list, { platforms: platforms('linux/amd64', 'linux/amd64/v3') });
    expect(closure.manifests).toHaveLength(3);
  });

  it('goes through lists inside lists as serving does', async () => {
    const amd64 = image();
    const arm64 = image({ platform: LINUX_ARM64 });
    const inner = listOf([entryOf(arm64)], [arm64]);
    const entry = { ...manifestDescriptor(inner.root), platform: LINUX_ARM64 };
    const outer = listOf([entryOf(amd64), entry], [amd64, inner]);
    const closure = await closureOf(outer, { platforms: platforms('linux/arm64') });
    expect(closure.manifests.map(({ digest }) => digest)).toEqual([
      outer.root.digest,
      inner.root.digest,
      arm64.root.digest,
    ]);
    expect(digests((await closureOf(outer)).manifests)).toEqual(digests(outer.manifests));
  });

  it('marks layers that are held elsewhere, unless another manifest holds them', async () => {
    const held = image({ platform: LINUX_AMD64, message: 'base' });
    const [layer] = held.layers;
    if (layer === undefined) throw new Error('an image without a layer');
    const absent = {
      ...layer,
      digest: `sha256:${'ee'.repeat(32)}` as Digest,
      urls: ['https://example.com/'],
    };
    const foreignLayers = [{ ...layer, urls: ['https://example.com/'] }, absent];
    const windows = image({ platform: WINDOWS_AMD64, foreignLayers });
    const closure = await closureOf(listOf([entryOf(held), entryOf(windows)], [held, windows]));
    expect(digests(closure.foreign)).toEqual([absent.digest]);
    expect(closure.foreign[0]?.size).toBe(absent.size);
  });

  it('takes in what refers to it, as far as the caller knows', async () => {
    const list = multiPlatform({ platforms: [LINUX_AMD64], attestations: false });
    const [child] = [...list.images.values()];
    const signature = image({ message: 'signature' });
    const signed = child?.root.digest;
    const closure = await walkImage(list.root.digest, {
      platforms: platforms('linux/amd64'),
      ...reading([...list.manifests, signature.root]),
      referrers: (subject) => Promise.resolve(subject === signed ? [signature.root] : []),
    });
    expect(closure.manifests.at(-1)).toMatchObject({
      digest: signature.root.digest,
      role: 'referrer',
      subject: signed,
    });
    expect(digests(closure.blobs)).toEqual(digests([...list.blobs, ...signature.blobs]));
  });

  it('has the blobs of a build cache, whose list names layers', async () => {
    const base = image();
    const cache = listOf([base.config, ...base.layers], []);
    expect(digests((await closureOf(cache)).blobs)).toEqual(digests(base.layers));
  });
});

describe('what is missing of an image', () => {
  it('is the root, if that is not there', async () => {
    const closure = await walkImage(image().root.digest, { platforms: [], ...reading([]) });
    expect(closure).toMatchObject({
      manifests: [],
      missing: [{ digest: image().root.digest, reason: 'not cached' }],
    });
  });

  it('is each manifest that cannot be had, and why', async () => {
    const list = multiPlatform({ platforms: [LINUX_AMD64, LINUX_ARM64] });
    const [amd64, arm64] = [...list.images.values()].map(({ root }) => root.digest);
    const { read } = reading(list.manifests.filter(({ digest }) => digest !== amd64));
    const closure = await closureOf(list, {
      read: (digest) =>
        digest === arm64 ? Promise.reject(new PullError('unavailable', 'upstream is away')) : read(digest),
    });
    expect(closure.missing).toMatchObject([
      { digest: amd64, role: 'image', platform: LINUX_AMD64, reason: 'not cached' },
      { digest: arm64, role: 'image', reason: 'upstream is away' },
    ]);
    // The attestations are there all the same.
    expect(closure.manifests.map(({ role }) => role)).toEqual(['index', 'attestation', 'attestation']);
  });

  it('is the list inside a list, and no other platform suffers', async () => {
    const amd64 = image();
    const nested = absentEntry('list', LINUX_ARM64);
    const outer = listOf([entryOf(amd64), { ...nested, mediaType: OCI_INDEX }], [amd64]);
    const closure = await closureOf(outer, { platforms: platforms('linux/arm64', 'linux/amd64') });
    expect(closure.missing).toMatchObject([{ role: 'index', reason: 'not cached' }]);
    expect(closure.manifests.map(({ digest }) => digest)).toEqual([outer.root.digest, amd64.root.digest]);
    expect(closure.unmatched).toEqual([]);
  });

  it('is what lies too deep, or is too much', async () => {
    let deep = listOf([entryOf(image())], [image()]);
    for (let depth = 0; depth < 6; depth++) deep = listOf([manifestDescriptor(deep.root)], [deep]);
    const closure = await closureOf(deep);
    expect(closure.manifests).toHaveLength(4);
    expect(closure.missing).toMatchObject([{ reason: 'more than 4 indexes inside each other' }]);

    const many = Array.from({ length: 2500 }, (_, at) => image({ message: String(at) }).root);
    const wide = listOf(many.map(manifestDescriptor), []);
    const cut = await walkImage(wide.root.digest, { platforms: [], ...reading([...many, wide.root]) });
    expect(cut.manifests).toHaveLength(2000);
    expect(cut.missing).toMatchObject([{ reason: 'the image has more than 2000 manifests' }]);
  });

  it('is what is no manifest', async () => {
    const root = { ...storedManifest(OCI_INDEX, { manifests: 'none' }) };
    const closure = await walkImage(root.digest, { platforms: [], ...reading([root]) });
    expect(closure.missing).toMatchObject([
      { digest: root.digest, reason: 'manifests of the manifest is not a list' },
    ]);
  });

  it('is each blob that is not cached, of each manifest, if it is looked for', async () => {
    const list = multiPlatform({ platforms: [LINUX_AMD64, LINUX_ARM64], attestations: false });
    const [amd64, arm64] = [...list.images.values()];
    const lost = arm64?.layers[0]?.digest;
    const hasBlob = ({ digest }: { readonly digest: Digest }) => Promise.resolve(digest !== lost);
    const walk = await closureOf(list, { hasBlob });
    expect(walk.missingBlobs.map(({ digest }) => digest)).toEqual([lost]);
    const missingOf = (digest?: Digest) => walk.manifests.find((each) => each.digest === digest)?.missing;
    expect(missingOf(arm64?.root.digest)).toEqual(walk.missingBlobs);
    expect(missingOf(amd64?.root.digest)).toEqual([]);
    expect((await closureOf(list)).missingBlobs).toEqual([]);
  });

  it('ends the walk when the caller goes away, and on faults that are none of upstream', async () => {
    const list = multiPlatform();
    const gone = AbortSignal.abort(new Error('gone'));
    await expect(closureOf(list, { signal: gone })).rejects.toThrow('gone');
    const broken = closureOf(list, { read: () => Promise.reject(new Error('a fault')) });
    await expect(broken).rejects.toThrow('a fault');
  });
});
