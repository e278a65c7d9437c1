import { describe, expect, it } from 'vitest';
import { digestOf } from '../../../src/oci/digest.ts';
import { OCI_INDEX, OCI_MANIFEST } from '../../../src/oci/media-types.ts';
import { bytesContent, type Content } from '../../fake/content.ts';
import type { StoredManifest } from '../../fake/library.ts';
import { manifestDescriptor, storedManifest } from '../../fixtures/images.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { filledHub, GOLANG, PLAIN } from '../../support/filled-hub.ts';
import type { RawResponse } from '../../support/http.ts';

/*
 * The pull and discovery categories of the OCI distribution-spec (v1.1.1, and main where that says more), and its section
 * on proxies, one requirement after the other, in its order.
 */

const NAME = 'library/golang';
const PATH = `/v2/${NAME}`;
const { root, manifests } = GOLANG.image;
const blobs = [...GOLANG.image.blobs];
const ABSENT = `sha256:${'0'.repeat(64)}`;
const bytes = Buffer.from('hashed by the longer algorithm');
const longBlob: Content = { ...bytesContent(bytes), digest: digestOf(bytes, 'sha512') };
const config = bytesContent(Buffer.from('{}'));
const plain = storedManifest(OCI_MANIFEST, {
  config: { mediaType: 'application/vnd.oci.empty.v1+json', digest: config.digest, size: config.size },
  layers: [{ mediaType: 'application/vnd.example', digest: longBlob.digest, size: longBlob.size }],
});
const longManifest: StoredManifest = { ...plain, digest: digestOf(plain.bytes, 'sha512') };
const TAGS = ['1.22', 'A', 'Z', 'a', 'b', 'latest', 'sha512'];

async function mirror(flags: Record<string, string> = {}) {
  const hub = await filledHub();
  for (const tag of ['A', 'Z', 'a', 'b']) hub.moveTag(NAME, tag, root.digest);
  for (const blob of [longBlob, config]) hub.addBlob(NAME, blob);
  hub.addManifest(NAME, longManifest, ['sha512']);
  hub.setReferrers(NAME, root.digest, [
    { ...manifestDescriptor(plain), artifactType: 'application/vnd.example.sbom', annotations: { a: 'b' } },
    { ...manifestDescriptor(PLAIN.image.root), artifactType: 'application/vnd.example.signature' },
  ]);
  return { hub, app: await startTestApp({ hub, flags }) };
}

function json(answer: RawResponse): unknown {
  return JSON.parse(answer.body.toString());
}

/** GET and HEAD agree on everything but the body; the answer to GET. */
async function bothWays(app: TestApp, target: string, status: number): Promise<RawResponse> {
  const [got, head] = [await app.get(target), await app.head(target)];
  expect([got.status, head.status]).toEqual([status, status]);
  expect(head.body).toHaveLength(0);
  for (const name of ['content-length', 'content-type', 'docker-content-digest']) {
    expect(head.header(name)).toBe(got.header(name));
  }
  return got;
}

/** An error in the form of "Error Codes", with one of its codes. */
function expectError(answer: RawResponse, code: string): void {
  expect(answer.header('content-type')).toBe('application/json');
  expect(json(answer)).toEqual({ errors: [{ code, message: expect.any(String) }] });
}

describe('determining support', () => {
  it('GET /v2/ is 200', async () => {
    const { app } = await mirror();
    expect((await app.get('/v2/')).status).toBe(200);
  });
});

describe('pulling manifests', () => {
  it('a GET of an existing one, by tag or digest, is 200 with its bytes, digest, and type without parameters', async () => {
    const { app } = await mirror();
    for (const manifest of manifests) {
      const answer = await bothWays(app, `${PATH}/manifests/${manifest.digest}`, 200);
      expect(answer.body.equals(manifest.bytes)).toBe(true);
      expect(answer.header('docker-content-digest')).toBe(manifest.digest);
      expect(answer.header('content-type')).toBe(manifest.mediaType);
      expect(answer.header('content-length')).toBe(String(manifest.bytes.length));
    }
    const byTag = await bothWays(app, `${PATH}/manifests/latest`, 200);
    expect(byTag.header('docker-content-digest')).toBe(root.digest);
  });

  it('one that is named by sha512 is served under that digest, cold, warm and by tag', async () => {
    const { app } = await mirror();
    for (const reference of ['sha512', longManifest.digest, longManifest.digest]) {
      const answer = await bothWays(app, `${PATH}/manifests/${reference}`, 200);
      expect(answer.header('docker-content-digest')).toBe(longManifest.digest);
      expect(answer.body.equals(longManifest.bytes)).toBe(true);
    }
  });

  it.each([
    ['a digest that is not there', `${PATH}/manifests/${ABSENT}`, 'MANIFEST_UNKNOWN'],
    ['a tag that is not there', `${PATH}/manifests/none-such`, 'MANIFEST_UNKNOWN'],
    ['what can be no tag', `${PATH}/manifests/.INVALID_MANIFEST_NAME`, 'MANIFEST_UNKNOWN'],
    ['a tag of 129 characters', `${PATH}/manifests/${'a'.repeat(129)}`, 'MANIFEST_UNKNOWN'],
    ['a repository that is not there', `/v2/no/such/manifests/latest`, undefined],
    ['what can be no repository', `/v2/No/Such/manifests/latest`, 'NAME_INVALID'],
  ])('%s is 404', async (_what, target, code) => {
    const { app } = await mirror();
    const answer = await bothWays(app, target, 404);
    const { errors } = json(answer) as { errors: { code: string }[] };
    expectError(answer, code ?? errors[0]?.code ?? '');
    expect(['MANIFEST_UNKNOWN', 'NAME_UNKNOWN', 'NAME_INVALID']).toContain(errors[0]?.code);
  });

  it.each(['sha256:totallywrong', 'sha256:baddigeststring', `blake3:${'0'.repeat(64)}`, 'sha512:00'])(
    'the digest %s, which is none that can be verified, is 400',
    async (digest) => {
      const { app } = await mirror();
      expectError(await bothWays(app, `${PATH}/manifests/${digest}`, 400), 'DIGEST_INVALID');
    },
  );

  it('a client that accepts manifests alone gets one for a tag that names a list, under its own digest', async () => {
    const { app } = await mirror();
    const answer = await app.get(`${PATH}/manifests/latest`, { headers: [['Accept', OCI_MANIFEST]] });
    expect(answer.header('docker-content-digest')).toBe(digestOf(answer.body));
    expect(answer.header('content-type')).toBe(OCI_MANIFEST);
  });
});

describe('pulling blobs', () => {
  it('a GET of an existing one is 200 with its bytes and digest, of either algorithm, cold and warm', async () => {
    const { app } = await mirror();
    for (const blob of [...blobs, longBlob]) {
      for (const _time of ['cold', 'warm']) {
        const answer = await bothWays(app, `${PATH}/blobs/${blob.digest}`, 200);
        expect(answer.body.equals(blob.expectedBytes(0, blob.size))).toBe(true);
        expect(answer.header('docker-content-digest')).toBe(blob.digest);
        expect(answer.header('content-length')).toBe(String(blob.size));
        expect(answer.header('content-type')).toBe('application/octet-stream');
      }
    }
  });

  it('a HEAD of one that is cold tells its size', async () => {
    const { app } = await mirror();
    const head = await app.head(`${PATH}/blobs/${longBlob.digest}`);
    expect([head.status, head.header('content-length')]).toEqual([200, String(longBlob.size)]);
    expect(head.header('docker-content-digest')).toBe(longBlob.digest);
  });

  it('one that is not there is 404', async () => {
    const { app } = await mirror();
    const [empty] = [digestOf(Buffer.from('hello world'))];
    expectError(await bothWays(app, `${PATH}/blobs/${empty}`, 404), 'BLOB_UNKNOWN');
    expectError(await bothWays(app, `${PATH}/blobs/sha256:short`, 400), 'DIGEST_INVALID');
  });

  it.each([
    ['bytes=5-9', 206, [5, 10]],
    ['bytes=5-', 206, [5, 30]],
    ['bytes=-5', 206, [25, 30]],
    ['bytes=20-9999', 206, [20, 30]],
    ['bytes=5-0', 416, undefined],
    ['bytes=9999-10000', 416, undefined],
  ] as const)('Range: %s is %i', async (range, status, extent) => {
    const { app } = await mirror();
    const answer = await app.get(`${PATH}/blobs/${longBlob.digest}`, { headers: [['Range', range]] });
    expect(answer.status).toBe(status);
    if (extent === undefined) return;
    const [start, end] = extent;
    expect(answer.body.equals(longBlob.expectedBytes(start, end - start))).toBe(true);
    expect(answer.header('content-range')).toBe(`bytes ${start}-${end - 1}/${longBlob.size}`);
  });
});

describe('listing tags', () => {
  const list = async (app: TestApp, query = '') => app.get(`${PATH}/tags/list${query}`);
  const nextOf = (answer: RawResponse) => /^<(.*)>; rel="next"$/.exec(answer.header('link') ?? '')?.[1];

  it('is 200 with the name that was asked for and the tags in order', async () => {
    const { app } = await mirror();
    const answer = await list(app);
    expect(answer.header('content-type')).toBe('application/json');
    expect(json(answer)).toEqual({ name: NAME, tags: TAGS });
    expect(answer.header('link')).toBeUndefined();
  });

  it('with n and last gives pages that a client can follow by Link or by last', async () => {
    const { app } = await mirror();
    const byLink: string[] = [];
    for (let target: string | undefined = `${PATH}/tags/list?n=3`; target !== undefined;) {
      const answer = await app.get(target);
      const { tags } = json(answer) as { tags: string[] };
      expect(tags.length).toBeLessThanOrEqual(3);
      byLink.push(...tags);
      target = nextOf(answer);
    }
    expect(byLink).toEqual(TAGS);
    expect(json(await list(app, '?n=2&last=Z'))).toEqual({ name: NAME, tags: ['a', 'b'] });
    expect(json(await list(app, '?last=b'))).toEqual({ name: NAME, tags: ['latest', 'sha512'] });
    expect(json(await list(app, '?n=100'))).toEqual({ name: NAME, tags: TAGS });
  });

  it('with n=0 is empty and has no Link, and is 404 all the same for a repository that is not there', async () => {
    const { app } = await mirror();
    const answer = await list(app, '?n=0');
    expect([answer.status, answer.header('link')]).toEqual([200, undefined]);
    expect(json(answer)).toEqual({ name: NAME, tags: [] });
    expectError(await app.get('/v2/no/such/tags/list?n=0'), 'NAME_UNKNOWN');
  });

  it('keeps to n and last though upstream takes no notice of them', async () => {
    const { hub, app } = await mirror();
    const body = JSON.stringify({ name: NAME, tags: TAGS });
    hub.fault({ match: { kind: 'tags' }, do: { status: { code: 200, body } } });
    const first = await list(app, '?n=3');
    expect(json(first)).toEqual({ name: NAME, tags: TAGS.slice(0, 3) });
    const second = await app.get(nextOf(first) ?? '');
    expect(json(second)).toEqual({ name: NAME, tags: TAGS.slice(3, 6) });
    expect(json(await list(app, '?last=latest'))).toEqual({ name: NAME, tags: ['sha512'] });
  });

  it('is of what is cached while upstream is away, page by page all the same', async () => {
    const { hub, app } = await mirror();
    for (const tag of ['b', 'a', 'latest', 'Z']) await app.get(`${PATH}/manifests/${tag}`);
    await hub.stop();
    expect(json(await list(app))).toEqual({ name: NAME, tags: ['Z', 'a', 'b', 'latest'] });
    const first = await list(app, '?n=2');
    expect(json(first)).toEqual({ name: NAME, tags: ['Z', 'a'] });
    expect(json(await app.get(nextOf(first) ?? ''))).toEqual({ name: NAME, tags: ['b', 'latest'] });
    const none = await list(app, '?n=0');
    expect([json(none), none.header('link')]).toEqual([{ name: NAME, tags: [] }, undefined]);
  });

  it('of a repository that is not there is 404', async () => {
    const { app } = await mirror();
    expectError(await app.get('/v2/no/such/tags/list'), 'NAME_UNKNOWN');
  });
});

describe('listing referrers', () => {
  it('is 200 with an index of descriptors, their artifact types and annotations', async () => {
    const { app } = await mirror();
    const answer = await app.get(`${PATH}/referrers/${root.digest}`);
    expect([answer.status, answer.header('content-type')]).toEqual([200, OCI_INDEX]);
    expect(answer.header('oci-filters-applied')).toBeUndefined();
    const sbom = { artifactType: 'application/vnd.example.sbom', annotations: { a: 'b' } };
    expect(json(answer)).toMatchObject({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: [sbom, {}] });
  });

  it('with a filter gives those that it lets through, and says that it was applied', async () => {
    const { app } = await mirror();
    const type = 'application/vnd.example.signature';
    const answer = await app.get(`${PATH}/referrers/${root.digest}?artifactType=${encodeURIComponent(type)}`);
    expect(answer.header('oci-filters-applied')).toBe('artifactType');
    expect((json(answer) as { manifests: unknown[] }).manifests).toEqual([
      { ...manifestDescriptor(PLAIN.image.root), artifactType: type },
    ]);
  });

  it('is empty and not 404 for a manifest that has none, or that nobody has seen', async () => {
    const { app } = await mirror();
    for (const digest of [longManifest.digest, ABSENT]) {
      const answer = await app.get(`${PATH}/referrers/${digest}`);
      expect([answer.status, answer.header('content-type')]).toEqual([200, OCI_INDEX]);
      expect(json(answer)).toMatchObject({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: [] });
    }
  });

  it('of what can be no digest is 400', async () => {
    const { app } = await mirror();
    expectError(await app.get(`${PATH}/referrers/sha256:wrong`), 'DIGEST_INVALID');
  });
});

describe('registry proxying', () => {
  it.each(['docker.io', 'registry-1.docker.io', 'index.docker.io'])(
    'by ns=%s is confirmed by OCI-Namespace, in answers and errors',
    async (ns) => {
      const { app } = await mirror();
      const targets = ['manifests/latest', `blobs/${longBlob.digest}`, 'tags/list', 'manifests/none-such'];
      for (const target of [...targets, `referrers/${root.digest}`]) {
        expect((await app.get(`${PATH}/${target}?ns=${ns}`)).header('oci-namespace')).toBe(ns);
        expect((await app.get(`${PATH}/${target}`)).header('oci-namespace')).toBeUndefined();
      }
      const page = await app.get(`${PATH}/tags/list?n=1&ns=${ns}`);
      expect(page.header('link')).toBe(`<${PATH}/tags/list?n=1&last=1.22&ns=${ns}>; rel="next"`);
    },
  );

  it('does not send ns on to the registry', async () => {
    const { hub, app } = await mirror();
    await app.get(`${PATH}/manifests/latest?ns=docker.io`);
    expect(hub.requests.filter(({ query }) => query.has('ns'))).toEqual([]);
  });
});

describe('warnings', () => {
  it('have the code 299, no agent and no date, and stay below 4096 bytes', async () => {
    const { hub, app } = await mirror({ tagTtl: '0s' });
    await app.get(`${PATH}/manifests/latest`);
    await hub.stop();
    for (const target of ['manifests/latest', 'tags/list', `referrers/${root.digest}`]) {
      const warning = (await app.get(`${PATH}/${target}`)).header('warning') ?? '';
      expect(warning).toMatch(/^299 - "[^"\\]*"$/);
      expect(warning.length).toBeLessThan(4096);
    }
  });
});
