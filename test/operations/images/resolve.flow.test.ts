import { describe, expect, it } from 'vitest';
import { readImages } from '../../../src/app/app.ts';
import { askOwner } from '../../../src/cli/control-client.ts';
import { resolveText } from '../../../src/cli/commands/resolve.ts';
import type { Digest } from '../../../src/oci/digest.ts';
import { OCI_MANIFEST } from '../../../src/oci/media-types.ts';
import type { Resolution, ResolvedManifest, ResolveRequest } from '../../../src/operations/protocol.ts';
import type { ImageEntry } from '../../../src/store/images.ts';
import type { FakeHub } from '../../fake/hub.ts';
import {
  image,
  LINUX_AMD64,
  manifestDescriptor,
  multiPlatform,
  storedManifest,
} from '../../fixtures/images.ts';
import { absentEntry, entryOf, listOf } from '../../fixtures/lists.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { filledHub, GOLANG, PLAIN, served } from '../../support/filled-hub.ts';
import { fetchRaw } from '../../support/http.ts';
import { blobsNamedBy } from '../../support/image-digests.ts';
import { unwatchedRun } from '../../support/operation-run.ts';
import { pullWhole, storedAt } from '../../support/pulls.ts';
import { eventually, withDeadline } from '../../support/wait.ts';

async function resolved(app: TestApp, request: ResolveRequest): Promise<Resolution> {
  const run = unwatchedRun();
  const order = { name: 'resolve', request, run } as const;
  const answer = await withDeadline(askOwner(app.dataDir, order), 'the resolution');
  if (answer.kind !== 'done') throw new Error(`the server is ${answer.kind}`);
  return answer.result;
}

const entryFor = ({ root }: Resolution, platform: string): ResolvedManifest => {
  const entry = root.entries?.find((each) => each.platform === platform);
  if (entry === undefined) throw new Error(`no entry for ${platform}`);
  return entry;
};
/** Manifests that were got whole, and blobs that were asked for. */
const fetched = (hub: FakeHub): string[] =>
  hub.requests
    .filter(({ method, status, kind }) => method === 'GET' && status === 200 && kind !== 'token')
    .map(({ reference = '' }) => reference);

const amd64 = GOLANG.image.images.get('linux/amd64')?.root.digest;
const arm64 = GOLANG.image.images.get('linux/arm64/v8')?.root.digest;
const NAME = 'golang';
const FETCH = { fetch: true } as const;
/** Manifests that were got, each of which counts as a pull. */
const pulls = (hub: FakeHub): number => served(hub, { kind: 'manifest', method: 'GET' });

/** Pulls of golang what a client of linux/amd64 does, and more blobs; resolves when they are stored. */
async function pullAmd64(app: TestApp, more: readonly Digest[] = []): Promise<void> {
  const child = GOLANG.image.images.get('linux/amd64');
  await app.get('/v2/library/golang/manifests/latest');
  await app.get(`/v2/library/golang/manifests/${child?.root.digest}`);
  const own = child?.blobs.map(({ digest }) => digest) ?? [];
  for (const digest of [...own, ...more]) {
    await app.get(`/v2/library/golang/blobs/${digest}`);
    await storedAt(app, `/v2/library/golang/blobs/${digest}`);
  }
}

describe('resolving an image', () => {
  it('draws the tag, the index, its entries, and the parts of the manifest for the default platform', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    const resolution = await resolved(app, { image: NAME, ...FETCH });
    expect(resolution.image).toBe('golang:latest');
    expect(resolution.source).toBe('checked upstream');
    expect(resolution.choices).toEqual([{ platform: 'linux/amd64', why: 'default', digest: amd64 }]);
    expect(resolution.root).toMatchObject({
      digest: GOLANG.image.root.digest,
      isCached: true,
      isComplete: false,
    });
    expect(resolution.root.entries).toHaveLength(7);
    const entry = entryFor(resolution, 'linux/amd64');
    expect(entry).toMatchObject({ digest: amd64, isCached: true, chosenFor: ['linux/amd64, default'] });
    expect(entry.layers?.map(({ digest }) => digest)).toEqual(
      GOLANG.image.images.get('linux/amd64')?.layers.map(({ digest }) => digest),
    );
    expect(entryFor(resolution, 'linux/arm64/v8')).toMatchObject({ isCached: false, isComplete: false });
    expect(fetched(hub)).toEqual([GOLANG.image.root.digest, amd64]);
  });

  it('marks what is complete in the cache', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    const child = GOLANG.image.images.get('linux/amd64');
    await app.get('/v2/library/golang/manifests/latest');
    await app.get(`/v2/library/golang/manifests/${child?.root.digest}`);
    for (const { digest } of [child?.config, ...(child?.layers ?? [])].flatMap((part) => part ?? [])) {
      await app.get(`/v2/library/golang/blobs/${digest}`);
    }
    const whole = await eventually(async () => {
      const resolution = await resolved(app, { image: NAME });
      return resolution.root.isComplete && resolution;
    }, 'the image to be complete');
    expect(entryFor(whole, 'linux/amd64').isComplete).toBe(true);
    expect(whole.source).toBe('from the cache');
    expect(resolveText(whole)).toMatch(/linux\/amd64 +sha256:\S+ +\d+ B +cached +linux\/amd64, default/);
    const other = await resolved(app, { image: NAME, platform: 'linux/arm64' });
    expect(other.root.isComplete).toBe(false);
    expect(other.choices).toEqual([{ platform: 'linux/arm64', why: 'asked for', digest: arm64 }]);
  });

  it('calls an index complete once all platforms of the settings are, and no sooner', async () => {
    const app = await startTestApp({
      hub: await filledHub(),
      flags: { platforms: 'linux/amd64,linux/arm64' },
    });
    const isComplete = async () => (await resolved(app, { image: NAME })).root.isComplete;
    const store = async (platform: string) => {
      const child = GOLANG.image.images.get(platform);
      await app.get(`/v2/library/golang/manifests/${child?.root.digest ?? ''}`);
      for (const { digest } of [child?.config, ...(child?.layers ?? [])].flatMap((part) => part ?? [])) {
        await app.get(`/v2/library/golang/blobs/${digest}`);
      }
    };
    await app.get('/v2/library/golang/manifests/latest');
    await store('linux/amd64');
    expect(await isComplete()).toBe(false);
    await store('linux/arm64/v8');
    await eventually(isComplete, 'the index to be complete');
  });

  it('tells what each of the platforms and networks of the settings gets', async () => {
    const yaml =
      'platforms: [linux/amd64, linux/arm64]\nclients: [{ network: 10.2.0.0/16, platform: linux/s390x }]\n';
    const app = await startTestApp({ hub: await filledHub(), yaml });
    const { choices } = await resolved(app, { image: 'docker.io/library/golang:1.22', ...FETCH });
    expect(choices).toEqual([
      { platform: 'linux/amd64', why: 'platforms', digest: amd64 },
      { platform: 'linux/arm64', why: 'platforms', digest: arm64 },
      { platform: 'linux/s390x', why: 'clients of 10.2.0.0/16' },
    ]);
    expect(resolveText(await resolved(app, { image: NAME }))).toContain(
      'linux/s390x, clients of 10.2.0.0/16: no manifest\n',
    );
  });

  it('looks into all images, and attestations only as far as they are stored, if all are asked for', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    const { root, choices } = await resolved(app, { image: NAME, platform: 'all', ...FETCH });
    expect(choices).toEqual([]);
    const images = root.entries?.filter(({ attests }) => attests === undefined) ?? [];
    expect(images.every(({ config }) => config !== undefined)).toBe(true);
    expect(fetched(hub)).toHaveLength(1 + images.length);
  });

  it('of a tag that is no list is that for everybody', async () => {
    const app = await startTestApp({ hub: await filledHub() });
    const { root, choices } = await resolved(app, { image: 'plain', platform: 'linux/s390x', ...FETCH });
    expect(choices).toEqual([{ platform: 'linux/s390x', why: 'asked for', digest: PLAIN.image.root.digest }]);
    expect(root.layers).toHaveLength(PLAIN.image.layers.length);
  });

  it('goes into lists inside lists', async () => {
    const hub = await filledHub();
    const inner = image();
    const nested = listOf([entryOf(inner)], [inner]);
    hub.add({
      repository: 'library/nested',
      tags: ['latest'],
      image: listOf([manifestDescriptor(nested.root)], [nested]),
    });
    const app = await startTestApp({ hub });
    const { root, choices } = await resolved(app, { image: 'nested', ...FETCH });
    expect(choices[0]?.digest).toBe(inner.root.digest);
    expect(root.entries?.[0]?.entries?.[0]).toMatchObject({
      digest: inner.root.digest,
      chosenFor: ['linux/amd64, default'],
    });
  });

  it('says what is missing without upstream, and why', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    await app.get('/v2/library/golang/manifests/latest');
    await hub.stop();
    const resolution = await resolved(app, { image: NAME, ...FETCH });
    const entry = entryFor(resolution, 'linux/amd64');
    expect(entry.isCached).toBe(false);
    expect(entry.failure).toContain('not cached');
    await expect(resolved(app, { image: 'plain' })).rejects.toThrow('not cached');
  });

  it.each([
    ['Golang', undefined, 'is not the name of an image'],
    ['quay.io/org/app', undefined, 'quay.io is not an upstream; add it to `upstreams`'],
    ['golang', 'arm64', '"arm64" is not a platform; allowed: all, os/architecture'],
    ['none/none', undefined, 'none/none'],
  ])('of %s for %s fails: %s', async (name, platform, message) => {
    const app = await startTestApp({ hub: await filledHub() });
    const request = { image: name, ...FETCH, ...(platform === undefined ? {} : { platform }) };
    await expect(resolved(app, request)).rejects.toThrow(message);
  });

  it('draws who gets what even if that stands behind hundreds of others', async () => {
    const hub = await filledHub();
    const amd = image({ platform: LINUX_AMD64 });
    const others = Array.from({ length: 300 }, (_, n) =>
      absentEntry(`${n}`, { os: 'linux', architecture: 's390x', variant: `v${n}` }),
    );
    hub.add({
      repository: 'library/late',
      tags: ['latest'],
      image: listOf([...others, entryOf(amd)], [amd]),
    });
    const app = await startTestApp({ hub });
    const { root } = await resolved(app, { image: 'late', ...FETCH });
    expect(root.entries?.at(-1)).toMatchObject({
      digest: amd.root.digest,
      chosenFor: ['linux/amd64, default'],
    });
    expect(root.entries?.at(-1)?.layers).toHaveLength(1);
    expect(root.moreEntries).toBe(100);
  });

  it.each([undefined, 'all'])(
    'ends, and costs little, when lists hold the same list again and again (%s)',
    async (platform) => {
      const hub = await filledHub();
      const bottom = image();
      let content = listOf([entryOf(bottom)], [bottom]);
      for (let depth = 0; depth < 3; depth++) {
        const entry = manifestDescriptor(content.root);
        content = listOf(
          Array.from({ length: 199 }, () => entry),
          [content],
        );
      }
      hub.add({ repository: 'library/folded', tags: ['latest'], image: content });
      const app = await startTestApp({ hub });
      const request = { image: 'folded', ...FETCH, ...(platform === undefined ? {} : { platform }) };
      const resolution = await resolved(app, request);
      expect(JSON.stringify(resolution).length).toBeLessThan(1_000_000);
      expect(resolution.root.isComplete).toBe(false);
      expect(fetched(hub).length).toBeLessThanOrEqual(5);
    },
  );

  it('fetches so many manifests of lists inside lists and no more, if all are asked for', async () => {
    const hub = await filledHub();
    const inner = Array.from({ length: 20 }, (_, at) => {
      const images = Array.from({ length: 20 }, (_each, n) => image({ message: `${at}/${n}` }));
      return listOf(images.map(entryOf), images);
    });
    const root = listOf(
      inner.map((each) => manifestDescriptor(each.root)),
      inner,
    );
    hub.add({ repository: 'library/wide', tags: ['latest'], image: root });
    const app = await startTestApp({ hub });
    const resolution = await resolved(app, { image: 'wide', platform: 'all', ...FETCH });
    expect(fetched(hub).length).toBeLessThanOrEqual(201);
    expect(resolution.root.entries?.at(-1)?.failure).toContain('more than');
    expect(resolution.root.isComplete).toBe(false);
  });

  it('with more layers than anybody would want to see says so', async () => {
    const hub = await filledHub();
    const manifest = storedManifest(OCI_MANIFEST, {
      config: manifestDescriptor(image().root),
      layers: Array.from({ length: 12_000 }, (_, n) => absentEntry(`${n}`)),
    });
    hub.add({
      repository: 'library/tower',
      tags: ['latest'],
      image: { root: manifest, manifests: [manifest], blobs: [] },
    });
    const app = await startTestApp({ hub });
    const { root } = await resolved(app, { image: 'tower', ...FETCH });
    expect(root.layers).toBeUndefined();
    expect(root.failure).toContain('more than');
  });

  it('shows a terminal nothing but what can be printed, and not thousands of entries', async () => {
    const hub = await filledHub();
    const entries = Array.from({ length: 3000 }, (_, n) =>
      absentEntry(`${n}`, { os: 'linux', architecture: `\u001B[31m${n}` }),
    );
    const amd = image({ platform: LINUX_AMD64 });
    const list = listOf([entryOf(amd), ...entries], [amd]);
    hub.add({ repository: 'library/many', tags: ['latest'], image: list });
    const app = await startTestApp({ hub });
    const text = resolveText(await resolved(app, { image: 'many', ...FETCH }));
    expect(text).not.toContain('\u001B');
    expect(text).toContain('and 2801 entries more');
    expect(text.split('\n').length).toBeLessThan(220);
  });
});

describe('resolving without --fetch', () => {
  it('of what was never pulled spends no pull, and says what it would cost', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    const resolution = await resolved(app, { image: NAME });
    expect(pulls(hub)).toBe(0);
    expect(resolution.root).toMatchObject({ digest: GOLANG.image.root.digest, state: 'missing' });
    expect(resolution.choices).toEqual([
      { platform: 'linux/amd64', why: 'default', failure: 'the index is not cached' },
    ]);
    expect(resolution.cost).toMatchObject({ pulls: 2, isAtLeast: true });
    expect(resolveText(resolution)).toContain('--fetch downloads missing manifests: at least 2 pulls');
    await resolved(app, { image: NAME, ...FETCH });
    expect(pulls(hub)).toBe(2);
    expect((await resolved(app, { image: NAME })).cost).toEqual({ pulls: 0, isAtLeast: false });
  });

  it('says how many pulls are left of those that it would cost', async () => {
    const hub = await filledHub();
    hub.setPulls({ limit: 100, remaining: 40, windowSeconds: 21_600 });
    const app = await startTestApp({ hub });
    const { cost } = await resolved(app, { image: 'plain' });
    expect(cost).toEqual({ pulls: 1, isAtLeast: false, remaining: 40 });
    expect(hub.pullsRemaining).toBe(40);
  });

  it('says so where a registry tells nothing by HEAD', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub, flags: { tagTtl: '0s', readAhead: 'off' } });
    await app.get('/v2/library/golang/manifests/latest');
    hub.fault({ match: { method: 'HEAD' }, do: { headMethodNotAllowed: true } });
    const before = pulls(hub);
    const { source, root } = await resolved(app, { image: NAME });
    expect(source).toBe('stale: docker.io sent no digest in its answer to HEAD');
    expect(root.digest).toBe(GOLANG.image.root.digest);
    await expect(resolved(app, { image: 'plain' })).rejects.toThrow('to HEAD; use --fetch');
    expect(pulls(hub)).toBe(before);
    expect((await resolved(app, { image: 'plain', ...FETCH })).root.digest).toBe(PLAIN.image.root.digest);
  });

  it('of a tag that has moved spends no pull, moves no tag, and names what is cached', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub, flags: { tagTtl: '0s' } });
    await pullWhole(app, 'library/golang', GOLANG);
    const renewed = multiPlatform({ message: 'renewed' });
    hub.add({ repository: 'library/golang', image: renewed });
    hub.moveTag('library/golang', 'latest', renewed.root.digest);
    const before = pulls(hub);
    const resolution = await resolved(app, { image: NAME });
    expect(pulls(hub)).toBe(before);
    expect(resolution.root).toMatchObject({ digest: renewed.root.digest, state: 'missing' });
    expect(resolution.before).toBe(GOLANG.image.root.digest);
    expect(resolveText(resolution)).toContain(`before the tag moved: ${GOLANG.image.root.digest}, cached\n`);
    await hub.stop();
    expect((await resolved(app, { image: NAME })).root).toMatchObject({
      digest: GOLANG.image.root.digest,
      isComplete: true,
    });
  });

  it('of a tag that has moved says both when the new image could be cached in part only', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub, flags: { tagTtl: '0s', readAhead: 'off' } });
    await pullWhole(app, 'library/golang', GOLANG);
    const renewed = multiPlatform({ message: 'renewed' });
    hub.add({ repository: 'library/golang', image: renewed });
    hub.moveTag('library/golang', 'latest', renewed.root.digest);
    const child = renewed.images.get('linux/amd64');
    await app.get('/v2/library/golang/manifests/latest');
    await app.get(`/v2/library/golang/manifests/${child?.root.digest}`);
    const { root, before } = await resolved(app, { image: NAME });
    expect(root.digest).toBe(renewed.root.digest);
    expect(root.isComplete).toBe(false);
    expect(before).toBe(GOLANG.image.root.digest);
  });

  it('of an image whose manifests are gone says that it is missing', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub, flags: { readAhead: 'off' } });
    await app.get('/v2/library/golang/manifests/latest');
    const { root, cost } = await resolved(app, { image: NAME });
    expect(root).toMatchObject({ isCached: true, state: 'missing', isComplete: false });
    expect(cost).toMatchObject({ pulls: 1, isAtLeast: false });
  });

  it('of an index whose images were evicted says that it is missing', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub, flags: { tagTtl: '1h' } });
    await pullWhole(app, 'library/golang', GOLANG);
    expect((await resolved(app, { image: NAME })).root.state).toBe('cached');
    for (const { root } of GOLANG.image.images.values()) {
      const request = { image: `golang@${root.digest}` };
      const order = { name: 'remove', request, run: unwatchedRun() } as const;
      expect(await askOwner(app.dataDir, order)).toMatchObject({ kind: 'done' });
    }
    const before = pulls(hub);
    const { root, cost } = await resolved(app, { image: NAME });
    expect(root).toMatchObject({ isCached: true, state: 'missing', isComplete: false });
    expect(cost.pulls).toBe(1);
    expect(pulls(hub)).toBe(before);
  });

  it('of an image without its attestation says that it is partial, and why', async () => {
    const hub = await filledHub();
    const [attestation] = GOLANG.image.attestations;
    for (const digest of blobsNamedBy(attestation?.bytes)) hub.removeContent('library/golang', digest);
    const app = await startTestApp({ hub });
    await pullAmd64(app);
    const resolution = await resolved(app, { image: NAME });
    expect(entryFor(resolution, 'linux/amd64')).toMatchObject({ state: 'partial', isComplete: false });
    expect(resolveText(resolution)).toContain('partial: attestation missing');
  });

  it('leaves an image cached whose other platforms were fetched to be shown', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    await pullAmd64(app, blobsNamedBy(GOLANG.image.attestations[0]?.bytes));
    await resolved(app, { image: NAME, platform: 'all', ...FETCH });
    const listed: ImageEntry[] = [];
    for await (const entry of readImages(app.dataDir)) listed.push(entry);
    expect(listed.find(({ digest }) => digest === GOLANG.image.root.digest)).toMatchObject({
      state: 'cached',
      missingBlobs: 0,
    });
    expect((await resolved(app, { image: NAME })).root.isComplete).toBe(true);
  });
});

describe('GET /api/v1/resolve', () => {
  it('spends no pull, whatever it is asked for', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    await fetchRaw(`${app.adminUrl}/api/v1/resolve?image=golang&fetch=true`);
    expect(pulls(hub)).toBe(0);
  });

  it('tells the same', async () => {
    const app = await startTestApp({ hub: await filledHub() });
    const answer = await fetchRaw(`${app.adminUrl}/api/v1/resolve?image=golang&platform=linux/arm64`);
    expect(answer.status).toBe(200);
    expect(JSON.parse(answer.body.toString())).toEqual(
      await resolved(app, { image: NAME, platform: 'linux/arm64' }),
    );
  });

  it.each([
    ['image=Golang', 400],
    ['', 400],
    ['image=golang&platform=x', 400],
    ['image=golang:none', 404],
  ])('with %s is a %d', async (query, status) => {
    const app = await startTestApp({ hub: await filledHub() });
    const answer = await fetchRaw(`${app.adminUrl}/api/v1/resolve?${query}`);
    expect(answer.status).toBe(status);
    expect(JSON.parse(answer.body.toString())).toHaveProperty('error');
  });
});
