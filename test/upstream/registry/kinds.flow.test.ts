import { readFile } from 'node:fs/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { OCI_INDEX } from '../../../src/oci/media-types.ts';
import { referrersTag } from '../../../src/oci/referrers.ts';
import { startFakeHub, type FakeHub } from '../../fake/hub.ts';
import { REGISTRY_KINDS, type RegistryKind } from '../../fake/registry-kinds.ts';
import { bytesContent } from '../../fake/content.ts';
import { image, multiPlatform } from '../../fixtures/images.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { GOLANG, PLAIN } from '../../support/filled-hub.ts';
import { ANYBODY, hubAndUpstream, valueOf } from '../../support/upstream-client.ts';

const NAME = 'library/golang';
const LATEST = `/v2/${NAME}/manifests/latest`;
const { root } = GOLANG.image;
const BY_DIGEST = `/v2/${NAME}/manifests/${root.digest}`;
const moved = multiPlatform({ message: 'moved' });
const late = image({ message: 'late' });
const layer = bytesContent(Buffer.alloc(64 * 1024, 'layer '));
const TAGS = Array.from({ length: 103 }, (_, i) => `v${String(i).padStart(3, '0')}`);
const SIGNATURE = {
  mediaType: 'application/vnd.oci.image.manifest.v1+json',
  digest: late.root.digest,
  size: late.root.bytes.length,
};

/** A stand-in with something of everything. */
async function standIn(kind: RegistryKind): Promise<FakeHub> {
  const hub = await startFakeHub({
    auth: kind.auth,
    ways: kind.ways,
    users: { carol: 'secret' },
    redirectBlobs: kind.sendsBlobs !== true,
    ...(kind.hasPullLimit === true ? {} : { pulls: 'unlimited' }),
  });
  onTestFinished(() => hub.close());
  const readers = kind.needsLogin === true ? { readers: ['carol'] } : {};
  hub.add({ ...GOLANG, ...readers });
  hub.addBlob(NAME, layer);
  hub.add({ repository: 'library/many', tags: TAGS, image: PLAIN.image, ...readers });
  hub.add({ repository: 'library/few', tags: TAGS.slice(0, 5), image: PLAIN.image, ...readers });
  if (kind.auth !== 'none') hub.add({ ...PLAIN, repository: 'acme/secret', readers: ['carol'] });
  if (kind.referrers === 'listed') hub.setReferrers(NAME, root.digest, [SIGNATURE]);
  for (const fault of kind.faults?.(hub) ?? []) hub.fault(fault);
  return hub;
}

interface Setting {
  readonly hub: FakeHub;
  readonly app: TestApp;
}

async function inFrontOf(
  kind: RegistryKind,
  options: { readonly loggedIn?: boolean; readonly tagTtl?: string } = {},
): Promise<Setting> {
  const hub = await standIn(kind);
  onTestFinished(() => expect(hub.violations).toEqual([]));
  const { loggedIn = kind.needsLogin === true, tagTtl = '5m' } = options;
  const login = {
    PIERHEAD_UPSTREAM_USERNAME: 'carol',
    PIERHEAD_UPSTREAM_PASSWORD: 'secret',
    ...(kind.needsLogin === true ? { PIERHEAD_UPSTREAM_PRIVATE: 'library/*' } : {}),
  };
  const flags = { tagTtl, readAhead: 'off' };
  return { hub, app: await startTestApp({ hub, flags, env: loggedIn ? login : {} }) };
}

/** All tags by all pages, and how many pages those were. */
async function tagsOf(app: TestApp, name: string, n: number): Promise<{ tags: string[]; pages: number }> {
  const tags: string[] = [];
  let pages = 0;
  for (let target: string | undefined = `/v2/${name}/tags/list?n=${n}`; target !== undefined; pages++) {
    const answer = await app.get(target);
    expect(answer.status, `${target}: ${answer.body.toString()}`).toBe(200);
    expect(answer.header('warning')).toBeUndefined();
    tags.push(...(JSON.parse(answer.body.toString()) as { readonly tags: readonly string[] }).tags);
    target = /^<([^>]*)>; rel="next"$/.exec(answer.header('link') ?? '')?.[1];
    expect(target ?? '/v2/').toMatch(/^\/v2\//);
  }
  return { tags, pages };
}

describe.each(REGISTRY_KINDS)('$name', (kind) => {
  it('is asked what a tag names that nobody has pulled', async () => {
    const { app } = await inFrontOf(kind);
    const head = await app.head(LATEST);
    expect([head.status, head.header('docker-content-digest'), head.header('content-type')]).toEqual([
      200,
      root.digest,
      root.mediaType,
    ]);
    expect(head.header('content-length')).toBe(String(root.bytes.length));
  });

  it('gives an image by its tag and by its digest', async () => {
    const { app } = await inFrontOf(kind);
    for (const target of [LATEST, BY_DIGEST]) {
      const answer = await app.get(target);
      expect([answer.status, answer.header('content-type')], answer.body.toString()).toEqual([
        200,
        root.mediaType,
      ]);
      expect(answer.body.equals(root.bytes)).toBe(true);
    }
  });

  it('gives a layer, and a part of one', async () => {
    const { app } = await inFrontOf(kind);
    const target = `/v2/${NAME}/blobs/${layer.digest}`;
    const head = await app.head(target);
    expect([head.status, head.header('content-length')]).toEqual([200, String(layer.size)]);
    const part = await app.get(target, { headers: [['Range', 'bytes=70-89']] });
    expect([part.status, part.body.toString()]).toEqual([206, layer.expectedBytes(70, 20).toString()]);
    const whole = await app.get(target);
    expect(whole.status).toBe(200);
    expect(whole.body.equals(layer.expectedBytes(0, layer.size))).toBe(true);
  });

  it('lists all tags, however large the pages are that a client asks for', async () => {
    const { app } = await inFrontOf(kind);
    expect((await tagsOf(app, 'library/many', 10_000)).tags).toEqual(TAGS);
    const few = await tagsOf(app, 'library/few', 2);
    expect(few.tags).toEqual(TAGS.slice(0, 5));
    expect(few.pages).toBeGreaterThanOrEqual(3);
  });

  it('lists what refers to an image, or sends clients on to the tag', async () => {
    const { hub, app } = await inFrontOf(kind);
    const answer = await app.get(`/v2/${NAME}/referrers/${root.digest}`);
    if (kind.referrers === 'listed') {
      expect([answer.status, answer.header('warning')]).toEqual([200, undefined]);
      expect(JSON.parse(answer.body.toString())).toMatchObject({ manifests: [SIGNATURE] });
      return;
    }
    expect(answer.status).toBe(404);
    hub.add({ repository: NAME, tags: [referrersTag(root.digest)], image: moved });
    const tag = await app.get(`/v2/${NAME}/manifests/${referrersTag(root.digest)}`);
    const found = kind.ways.dashedDigests === true ? root.digest : moved.root.digest;
    expect([tag.status, tag.header('content-type'), tag.header('docker-content-digest')]).toEqual([
      200,
      OCI_INDEX,
      found,
    ]);
    expect((await app.get('/readyz')).body.toString()).toContain('"ready"');
  });

  it('is seen to move a tag, and to delete one', async () => {
    const { hub, app } = await inFrontOf(kind, { tagTtl: '0s' });
    await app.get(LATEST);
    hub.add({ repository: NAME, tags: ['latest'], image: moved });
    const answer = await app.get(LATEST);
    expect([answer.header('docker-content-digest'), answer.header('warning')]).toEqual([
      moved.root.digest,
      undefined,
    ]);
    hub.removeTag(NAME, 'latest');
    expect((await app.get(LATEST)).status).toBe(404);
    expect((await app.head(LATEST)).status).toBe(404);
  });

  it('need not be there for an image that is cached', async () => {
    const { hub, app } = await inFrontOf(kind, { tagTtl: '0s' });
    const child = [...GOLANG.image.images.values()][0];
    const digests = [child?.config.digest, ...(child?.layers ?? []).map(({ digest }) => digest)];
    const targets = [
      LATEST,
      BY_DIGEST,
      `/v2/${NAME}/manifests/${child?.root.digest}`,
      ...digests.map((digest) => `/v2/${NAME}/blobs/${digest}`),
    ];
    for (const target of targets) expect((await app.get(target)).status, target).toBe(200);
    await hub.stop();
    for (const target of targets) expect((await app.get(target)).status, target).toBe(200);
    expect((await app.get(LATEST)).header('warning')).toMatch(/^299 - /);
    expect((await app.get(`/v2/${NAME}/manifests/late`)).status).toBe(503);
  });
});

describe('what a registry does not show to anybody', () => {
  it.each(REGISTRY_KINDS.filter(({ auth }) => auth !== 'none'))(
    'is not made public through us: $name',
    async (kind) => {
      const { app } = await inFrontOf(kind, { loggedIn: true });
      const secret = '/v2/acme/secret';
      for (const target of [
        `${secret}/manifests/latest`,
        `${secret}/manifests/${PLAIN.image.root.digest}`,
        `${secret}/blobs/${PLAIN.image.config.digest}`,
        `${secret}/tags/list`,
        `${secret}/referrers/${PLAIN.image.root.digest}`,
      ]) {
        expect((await app.get(target)).status, target).toBe(404);
        expect((await app.head(target)).status, target).toBe(404);
      }
      expect((await app.get(LATEST)).status).toBe(200);
      expect((await tagsOf(app, 'library/few', 10)).tags).toEqual(TAGS.slice(0, 5));
    },
  );
});

describe('a limit', () => {
  it.each(REGISTRY_KINDS.filter(({ limit, hasPullLimit = false }) => limit !== undefined || hasPullLimit))(
    'is no reason to serve nothing, or to say that anything is gone: $name',
    async (kind) => {
      const { hub, app } = await inFrontOf(kind, { tagTtl: '0s' });
      await app.get(LATEST);
      hub.add({ repository: NAME, tags: ['latest', 'late'], image: moved });
      if (kind.limit !== undefined) {
        hub.fault({ match: { kind: 'manifest', host: 'registry' }, do: { status: kind.limit } });
      } else {
        hub.setPulls({ limit: 100, remaining: 0, windowSeconds: 21_600 });
      }
      const answer = await app.get(LATEST);
      expect([answer.status, answer.header('docker-content-digest')]).toEqual([200, root.digest]);
      expect(answer.header('warning')).toMatch(/^299 - ".*limit/);
      expect((await app.get(`/v2/${NAME}/manifests/late`)).status).toBe(503);
    },
  );
});

describe('a list of tags that needs a token of another kind, as at Azure', () => {
  it('is asked for with one, which is kept beside that for pulls, and renewed', async () => {
    const ways = REGISTRY_KINDS.find(({ name }) => name === 'Azure Container Registry')?.ways ?? {};
    const { hub, upstream } = await hubAndUpstream({ ways });
    const tag = { kind: 'tag', tag: 'latest' } as const;
    for (let i = 0; i < 3; i++) {
      valueOf(await upstream.headManifest(NAME, tag, ANYBODY));
      expect(valueOf(await upstream.listTags(NAME, {}, ANYBODY)).tags).toEqual(['1.22', 'latest']);
    }
    const scopes = () =>
      hub.requests.filter(({ kind }) => kind === 'token').map(({ query }) => query.get('scope'));
    expect(scopes()).toEqual([`repository:${NAME}:pull`, `repository:${NAME}:metadata_read`]);
    hub.expireTokens();
    expect(valueOf(await upstream.listTags(NAME, {}, ANYBODY)).tags).toEqual(['1.22', 'latest']);
    expect(scopes()).toHaveLength(3);
    valueOf(await upstream.headManifest(NAME, tag, ANYBODY));
  });
});

describe('docs/guides/registries.md', () => {
  it('names the kinds that are stood in for, and no other', async () => {
    const page = await readFile(new URL('../../../docs/guides/registries.md', import.meta.url), 'utf8');
    const names = [...page.matchAll(/^### (.+)$/gm)].map(([, name]) => name);
    expect(names).toEqual(REGISTRY_KINDS.map(({ name }) => name));
  });
});
